"""What a key/value cache saves: the same texts by reading each token once, and by reading everything again.

`python -m tests.bench.generation [TOKENS]` builds a network of the family `gpt` with drawn weights, exports it in both
ways, and writes texts with each in turn, on one thread: tokens a second (CPU), the first token's latency, and what a
token costs by where it stands.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tidegate.models.decoding.settings import Decoding
from tidegate.models.decoding.texts import decode
from tidegate.models.preprocessing.target.text_target import TextTarget

VOCABULARY, PROMPT, ROUNDS = 1024, 16, 3
OPTIONS = {"family": "gpt", "width": 128, "layers": 3}
METHODS = {
    "greedy": {"method": "greedy"},
    "sample": {"method": "sample", "temperature": 0.8, "seed": 7},
}


class Written(NamedTuple):
    """A text, the CPU seconds at which each of its tokens came, and the whole seconds to the first."""

    tokens: tuple[int, ...]
    at: list[float]
    first: float


def answers() -> TextTarget:
    return TextTarget("text", [f"<{number}>" for number in range(VOCABULARY)], 4096, "subwords")


def export(folder: Path) -> None:
    """Write whole.onnx and cached.onnx; the end is never probable, so that every text has the length asked for."""
    from tidegate.models.export.onnx import export_onnx
    from tidegate.models.export.onnx_cache import export_cached
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.outputs import outputs_for

    spec = answers().spec
    network = build_model(OPTIONS, {"prefix": spec}, outputs_for("generation", spec.vocabulary, 1), 1)
    weights = network.get_weights()
    weights[-2] *= 8  # as decided as a trained one
    weights[-1][0] = -100
    network.set_weights(weights)
    export_onnx(network, folder / "whole.onnx")
    export_cached(network, folder / "cached.onnx")


def write(run: Any, decoding: Decoding) -> Written:
    target, at = answers(), [time.process_time()]
    began, first = time.perf_counter(), [0.0]
    prompt = np.random.default_rng(3).integers(2, VOCABULARY, PROMPT).tolist()

    def written(*_: int) -> None:
        first[0] = first[0] or time.perf_counter() - began
        at.append(time.process_time())

    (text,) = decode(run, target, {}, [prompt], decoding, written=written)
    return Written(text.tokens, at, first[0])


def whole_run(run: Any) -> Any:
    return lambda inputs: run({"prefix": inputs["prefix"]})


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, tokens: int) -> None:
    from tidegate.serving.runtimes import load_cached, load_model

    cached = load_cached(folder / "cached.onnx", threads=1)
    print(f"{tokens} tokens after a prompt of {PROMPT}; {OPTIONS}, {VOCABULARY} subwords, one thread")
    write(cached, Decoding(method="greedy", max_length=8))
    alone = megabytes()
    long = write(cached, Decoding(method="greedy", max_length=500))
    print(f"memory: {alone:.0f} MB when loaded, {megabytes():.0f} MB after 500 tokens")
    costs = [later - earlier for earlier, later in pairwise(long.at)]
    early, late = (1000 * statistics.median(part) for part in (costs[1:51], costs[450:500]))
    print(f"a token costs {early:.2f} ms at places 2 to 51, {late:.2f} ms at 451 to 500: {late / early:.2f}x")
    whole = load_model("onnx", folder / "whole.onnx", threads=1)
    for name, options in METHODS.items():
        decoding = Decoding.model_validate({**options, "max_length": tokens})
        rates: dict[str, list[float]] = {"once": [], "again": []}
        firsts: dict[str, list[float]] = {"once": [], "again": []}
        for _ in range(ROUNDS):
            found = {"once": write(cached, decoding), "again": write(whole_run(whole), decoding)}
            assert found["once"].tokens == found["again"].tokens, "the texts differ"
            assert len(found["once"].tokens) == tokens
            for way, text in found.items():
                rates[way].append(tokens / (text.at[-1] - text.at[0]))
                firsts[way].append(1000 * text.first)
        once, again = (statistics.median(rates[way]) for way in rates)
        print(
            f"{name}: {once:.0f} tokens a second of CPU, {again:.0f} by reading all again: {once / again:.1f}x; "
            f"first token: {statistics.median(firsts['once']):.1f}, {statistics.median(firsts['again']):.1f} ms; "
            "the same text"
        )


def main() -> None:
    """Export in a process of its own, without which TensorFlow would be in the memory that is measured."""
    if sys.argv[1:2] == ["--export"]:
        return export(Path(sys.argv[2]))
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "tests.on_keras", "tests.bench.generation", "--export", folder]
        subprocess.run(argv, check=True)
        return measure(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 256)


if __name__ == "__main__":
    main()
