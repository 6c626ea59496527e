"""How many processes serve a release: as asked, or as many as are of use."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.deployment.handover import MOST_PROCESSES as MOST
from tidegate.serving.runtimes import available_cpus

AUTO = "auto"
MEMORY_SHARE = 0.5  # of the container's limit, for what each process has for itself; the rest is for requests


@dataclass(frozen=True)
class Loaded:
    """What the first process said of its release: whether requests are quick, and its own memory in bytes."""

    quick: bool
    private_bytes: int


def processes(text: str) -> int | None:
    """The argument `--processes`: a number, or None for auto."""
    if text == AUTO:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} processes; expected {AUTO}, or a number from 1 to {MOST}")
    return int(text)


def at_most(asked: int | None, bundle: Bundle) -> int:
    """The number asked for; for auto, how many there are at most: 1 where one process uses all CPUs by itself.

    The predictions of such a release take all CPUs each, or are made in batches, or TensorFlow makes them.
    """
    if asked is not None:
        return asked
    batching = bundle.manifest.batching
    alone = bundle.manifest.runtime != "onnx" or bundle.contract.decoding is not None
    return 1 if alone or (batching is not None and batching.rows > 1) else min(MOST, available_cpus())


def choose(loaded: Loaded) -> int:
    """How many processes are of use: one a CPU where an event loop answers requests itself, within the memory limit."""
    if not loaded.quick:
        return 1
    limit = memory_limit()
    fitting = MOST if limit is None else int(limit * MEMORY_SHARE / max(loaded.private_bytes, 1))
    return max(1, min(MOST, available_cpus(), fitting))


def memory_limit() -> int | None:
    """The container's memory limit in bytes (cgroup v2); None for none."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
