"""Forked trials, many in a row and many side by side: none hangs, and each has the weights of a fresh process.

`python -m tests.bench.forks [--row 200] [--beside 50] [--backend tensorflow|jax|torch]` trains the smallest model in
each child of a train server, and once in a process of its own, and prints a line of Markdown for each part.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from tidegate.pipelines.executors.base import step_environment
from tidegate.pipelines.executors.forking.imports import TRAIN, Kind
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.executors.forking.servers import VARIABLE, ForkServers, end_servers, start_server

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300.0
MODULE = "tests.bench.forks_child"
ARGV = [sys.executable, "-m", MODULE]


def kind_of(backend: str) -> Kind:
    """The train server's kind, with a child of ours; another backend imports no TensorFlow."""
    after = TRAIN.after if backend == "tensorflow" else ()
    return TRAIN.model_copy(update={"name": "bench", "module": MODULE, "function": "main", "after": after})


@contextmanager
def server(kind: Kind, environment: dict[str, str]) -> Iterator[psutil.Process]:
    """A train server for all children, under $TIDEGATE_FORK_SERVER."""
    os.environ[VARIABLE] = f"bench-{os.getpid()}"
    started = start_server(kind, os.environ[VARIABLE], environment, 2, own_code=False, now=True)
    try:
        yield psutil.Process(started.pid)
    finally:
        end_servers([started])


class Children:
    """Starts trials and collects what they print.

    Args:
        kind: of the server; None: each is a process of its own.
        environment: of the children.
        folder: for their logs.
    """

    def __init__(self, kind: Kind | None, environment: dict[str, str], folder: Path) -> None:
        self._kind, self._environment, self._folder = kind, environment, folder
        self._servers = ForkServers(own=False)
        self._number = 0

    def start(self) -> tuple[ForkedProcess, Path]:
        """Start one; its log."""
        self._number += 1
        log = self._folder / f"{self._number}-{self._kind.name if self._kind else 'fresh'}.log"
        return self._servers.start(self._kind, ARGV, self._environment, log), log


def digest_of(started: tuple[ForkedProcess, Path]) -> str:
    """The digest of a trial's weights, once it has ended; raises TimeoutExpired for one that hangs."""
    process, log = started
    code = process.wait(PATIENCE_S)
    process.stdin.close()
    text = log.read_text()
    if code or "a process of its own" in text:
        raise SystemExit(f"exit code {code}: {text}")
    return text.split()[-1]


def cpu_seconds(process: psutil.Process) -> float:
    """Of a server and the children that it has waited for."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def in_a_row(children: Children, number: int) -> tuple[set[str], list[float]]:
    """Digests, and the seconds of each."""
    digests, seconds = set(), []
    for _ in range(number):
        began = time.monotonic()
        digests.add(digest_of(children.start()))
        seconds.append(time.monotonic() - began)
    return digests, seconds


def side_by_side(children: Children, number: int, parent: psutil.Process) -> tuple[set[str], float]:
    """Digests of trials that all run at once, and the most memory of all in MB (PSS), the server's too."""
    started = [children.start() for _ in range(number)]
    peak = 0.0
    while any(process.poll() is None for process, _ in started):
        peak = max(peak, _memory([parent, *parent.children()]))
        time.sleep(0.5)
    return {digest_of(one) for one in started}, peak


def _memory(processes: Sequence[psutil.Process]) -> float:
    found = 0.0
    for process in processes:
        try:
            found += process.memory_full_info().pss / 1e6
        except psutil.Error:
            continue
    return found


def fresh(environment: dict[str, str]) -> tuple[str, float]:
    """The digest of a process of its own, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(ARGV, env=environment, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ran.stdout.split()[-1], (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def main() -> None:
    """Run both parts, and fail where weights differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.forks", description=__doc__)
    parser.add_argument("--row", type=int, default=200, help="trials one after the other")
    parser.add_argument("--beside", type=int, default=50, help="trials at once")
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax", "torch"])
    given = parser.parse_args()
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**step_environment(), "KERAS_BACKEND": given.backend, "PYTHONPATH": os.pathsep.join(paths)}
    expected, alone_s = fresh(environment)
    kind = kind_of(given.backend)
    with tempfile.TemporaryDirectory() as folder, server(kind, environment) as parent:
        children = Children(kind, environment, Path(folder))
        print(f"{digest_of(children.start())} forked, {expected} fresh", file=sys.stderr)
        before = cpu_seconds(parent)
        digests, seconds = in_a_row(children, given.row)
        each = (cpu_seconds(parent) - before) / given.row
        same = "the same weights" if digests == {expected} else f"{len(digests)} DIFFERENT WEIGHTS"
        print(
            f"| {given.row} in a row, {given.backend} | {same} | median {median(seconds):.2f} s, at most "
            f"{max(seconds):.2f} s; {each:.2f} CPU s each | fresh process {alone_s:.2f} CPU s |",
            flush=True,
        )
        beside, peak = side_by_side(children, given.beside, parent)
        same = "the same weights" if beside == {expected} else f"{len(beside)} DIFFERENT WEIGHTS"
        print(f"| {given.beside} side by side, {given.backend} | {same} | {peak:.0f} MB at most | |")
    if digests | beside != {expected}:
        sys.exit(1)


if __name__ == "__main__":
    main()
