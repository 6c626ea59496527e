"""Ten times more than there is room for, open loop: `python -m tests.bench.serving.overload`.

A model of some milliseconds is asked by closed loops first, to know what it can do and how long it takes; then
ten times as often, whether it answers or not.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.bench.serving import servers
from tests.bench.serving.asker import open_loop
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Batching, Parity
from tidegate.serving.inference.batching import measure
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.runtimes import available_cpus

BODY = json.dumps({"rows": [[0.0] * 8] * 4}).encode()
WIDTH = 3072


def heavy(folder: Path, batching: Batching | None = None) -> Path:
    """A bundle whose model multiplies two large matrices."""
    columns = {"x": np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)}
    field = Field(name="x", kind="numeric", dtype="float32", shape=(8,))
    schema = Schema(inputs=(field,), target=Target(names=("y",), task="regression"))
    weights = {"first": (8, WIDTH), "wide": (WIDTH, WIDTH), "last": (WIDTH, 1)}
    names = ["x", "a", "b", "c", "output"]
    nodes = [
        helper.make_node("MatMul", [names[place], weight], [names[place + 1]])
        for place, weight in enumerate(("first", "wide", "wide", "last"))
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.full(shape, 1e-4, np.float32), name) for name, shape in weights.items()],
    )
    model = folder / "heavy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), model)
    proof = Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1)
    write_bundle(
        folder / "heavy",
        name="heavy",
        run="bench",
        trial="bench",
        schema=schema,
        transforms=Transforms.fit(schema, columns),
        model=model,
        runtime="onnx",
        parity=proof,
        sample=columns["x"][:2].tolist(),
        versions={},
        batching=batching,
    )
    return folder / "heavy"


def packaged(folder: Path) -> Path:
    """The same with what a package step would have measured of it."""
    columns = {"x": np.zeros((32, 8), np.float32)}
    found = measure(Predictor.of(heavy(folder)).predict_columns, columns, available_cpus())
    print(f"batching: {found.summary}\n")
    return heavy(folder, found)


def closed(port: int, seconds: float, clients: int) -> list[tuple[str, float]]:
    """As many clients, each as fast as it is answered."""
    seen: list[tuple[str, float]] = []
    until = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while (began := time.perf_counter()) < until:
            connection.request("POST", "/predict", BODY)
            answer = connection.getresponse()
            answer.read()
            seen.append((str(answer.status), (time.perf_counter() - began) * 1000))
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def report(what: str, seen: list[tuple[str, float]], seconds: float) -> None:
    """Print it by status."""
    for status, count in sorted(Counter(status for status, _ in seen).items()):
        taken = [ms for found, ms in seen if found == status]
        cells = [f"{value:.1f}" for value in (*np.percentile(taken, (50, 99, 99.9)), max(taken))]
        print(f"| {' | '.join([what, status, f'{count / seconds:.0f}', *cells])} |", flush=True)


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of overload")
    parser.add_argument("--before", type=float, default=5.0, help="seconds of each other load")
    parser.add_argument("--times", type=float, default=10.0, help="what it can do")
    parser.add_argument("--no-batching", action="store_true", help="as if nothing had been measured")
    parser.add_argument("server", nargs="*", help="more arguments of the server")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-overload-") as folder:
        make = heavy if args.no_batching else packaged
        server = servers.ours("heavy", make(Path(folder)))
        server.argv += args.server
        server.start()
        try:
            run(server.port, args)
        finally:
            server.stop()


def run(port: int, args: argparse.Namespace) -> None:
    """All loads, one after the other."""
    print("| load | answered | requests/s | p50 ms | p99 ms | p99.9 ms | longest ms |")
    print("|---|---|---|---|---|---|---|")
    closed(port, 1.0, 2)
    report("1 client, closed loop", closed(port, args.before, 1), args.before)
    before = closed(port, args.before, 2)
    report("2 clients, closed loop", before, args.before)
    report("4 clients, closed loop", closed(port, args.before, 4), args.before)
    rate = args.times * len(before) / args.before
    content = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    asker = open_loop(port, content, args.seconds, rate)
    report(f"{args.times:g}x open loop: {rate:.0f} requests/s", asker.seen, args.seconds)
    report("2 clients, right after", closed(port, args.before, 2), args.before)
    print(f"\n{asker.lines} connections; the client itself was at most {asker.late:.1f} ms behind")


if __name__ == "__main__":
    main()
