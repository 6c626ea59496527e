"""`python -m tests.bench.serving`: prints the tables that the README keeps. Needs wrk; about ten minutes in all.

In pieces: `--parts alternating --models mlp` is the comparison that the goals are about, a minute a model.
"""

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.serving import requests, servers
from tests.bench.serving.interleaved import head, one_by_one, show, slices
from tests.bench.serving.load import Request, Result, load, require_wrk
from tests.bench.serving.models import MODELS, make_bundle
from tests.bench.serving.native import build, native
from tests.bench.serving.servers import Server
from tidegate.models.data.columns import Columns

CONNECTIONS = (1, 16, 64)
BASES = ("bare", "native")
PARTS = ("starts", "alternating", "wrk", "memory")


@dataclass(frozen=True)
class Lane:
    """One server asked in one way, and its results round by round."""

    name: str
    server: Server
    ask: Callable[[Columns], Request]


@dataclass(frozen=True)
class Measured:
    """One round: what wrk saw, and the server's CPU time a request in microseconds."""

    result: Result
    cpu: float


def measure(lane: Lane, rows: Columns, connections: int, seconds: int, folder: Path) -> Measured:
    """One lane, once."""
    before = lane.server.cpu()
    result = load(lane.ask(rows), connections, seconds, folder)
    return Measured(result, (lane.server.cpu() - before) / max(1, result.requests) * 1e6)


def compare(model: str, lanes: list[Lane], connections: int, args: argparse.Namespace, folder: Path) -> None:
    """All lanes in turn, `args.rounds` times, so that a slow minute of the machine hits all; print their medians."""
    row = MODELS[model].columns(1)
    rounds = [
        [measure(lane, row, connections, args.seconds, folder) for lane in lanes] for _ in range(args.rounds)
    ]
    found = {lane.name: [measured[place] for measured in rounds] for place, lane in enumerate(lanes)}
    for name, own in found.items():
        rates, work = [], []
        for base in BASES:
            pairs = list(zip(own, found.get(base, ()), strict=False))
            rates.append(_median([one.result.rps / max(other.result.rps, 0.01) for one, other in pairs]))
            work.append(_median([other.cpu / max(one.cpu, 0.01) for one, other in pairs]))
        cells = [f"{model}, 1 row, wrk", str(connections), name]
        cells += [f"{statistics.median(one.result.rps for one in own):.0f}", *rates]
        cells += [f"{statistics.median(one.cpu for one in own):.0f}", *work]
        for share in ("p50", "p99", "p999"):
            cells.append(f"{statistics.median(getattr(one.result, share) for one in own):.2f}")
        print(f"| {' | '.join([*cells, str(sum(one.result.failed for one in own))])} |", flush=True)


def _median(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}x" if ratios else ""


def starts(lanes: list[Server], times: int) -> None:
    """Start each so many times in turn; the last ones stay."""
    taken: dict[str, list[float]] = {server.name: [] for server in lanes}
    for number in range(times):
        for server in lanes:
            if number:
                server.stop()
            taken[server.name].append(server.start())
    print("\n| server | ready after, s | MB PSS at start |\n|---|---|---|")
    for server in lanes:
        print(f"| {server.name} | {min(taken[server.name]):.2f} | {server.memory():.0f} |", flush=True)


def memory(server: Server, request: Request, count: int, folder: Path) -> None:
    """How its memory stands after many requests."""
    before, done = server.memory(), 0
    while done < count:
        done += load(request, 16, 10, folder).requests
    print(
        f"\n{server.name}: {before:.0f} MB PSS before, {server.memory():.0f} MB after {done} requests",
        flush=True,
    )


def alternating(model: str, lanes: list[Lane], args: argparse.Namespace) -> None:
    """Every dialect and the bare servers in turn: the table that the goals are about."""
    print(f"\n{head(BASES)}")
    for rows, connections in ((1, 1), (1, 16), (1, 64), (256, 1)):
        columns = MODELS[model].columns(rows)
        asked = {lane.name: lane.ask(columns) for lane in lanes}
        if connections == 1:
            found = one_by_one(asked, args.asked if rows == 1 else args.asked // 20)
        else:
            found = slices(asked, connections, args.slices)
        show(f"{model}, {rows} row{'s' if rows > 1 else ''}", connections, found, BASES)


def with_wrk(model: str, lanes: list[Lane], args: argparse.Namespace, folder: Path) -> None:
    """All servers, others too, in turn."""
    heads = ["what", "connections", "server", "requests/s", *(f"of {base}" for base in BASES)]
    heads += ["CPU us a request", *(f"of {base}" for base in BASES), "p50 ms", "p99", "p99.9", "failed"]
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for connections in CONNECTIONS:
        compare(model, lanes, connections, args, folder)


def lanes_of(model: str, graph: Path, ours: Server, program: Path | None) -> list[Lane]:
    """The bare servers, and ours in each dialect."""
    bare = [servers.bare(graph), *([] if program is None else [native(program, graph)])]
    lanes = [Lane(server.name, server, partial(requests.rows, server.url)) for server in bare]

    def ask(name: str, columns: Columns) -> Request:
        return requests.dialects(ours.url, model, columns)[name]

    names = requests.dialects(ours.url, model, MODELS[model].columns(1))
    return lanes + [Lane(name, ours, partial(ask, name)) for name in names]


def others(model: str, graph: Path, folder: Path) -> list[Lane]:
    """BentoML's guide and mlflow, which are there for images."""
    guide, mlflow = servers.guide(graph), servers.mlflow(model, folder / f"{model}-mlflow")
    return [
        Lane(guide.name, guide, partial(requests.rows, guide.url)),
        Lane(mlflow.name, mlflow, partial(requests.invocations, mlflow.url)),
    ]


def bench(model: str, program: Path | None, folder: Path, args: argparse.Namespace) -> None:
    """The parts asked for, for one model."""
    bundle, graph = make_bundle(model, folder), folder / f"{model}.onnx"
    ours = servers.ours(model, bundle)
    ask = lanes_of(model, graph, ours, program)
    beside = not args.only_bare and MODELS[model].is_of_images and {"starts", "wrk"} & set(args.parts)
    lanes = [*ask, *(others(model, graph, folder) if beside else ())]
    started = list(dict.fromkeys(lane.server for lane in lanes))
    try:
        starts(started, 3 if "starts" in args.parts else 1)
        if "alternating" in args.parts:
            alternating(model, ask, args)
        if "wrk" in args.parts:
            with_wrk(model, lanes, args, folder)
        if "memory" in args.parts:
            request = next(lane.ask(MODELS[model].columns(1)) for lane in lanes if lane.server is ours)
            memory(ours, request, args.requests, folder)
    finally:
        for server in started:
            server.stop()


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description=__doc__)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--seconds", type=int, default=2, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=5, help="runs of wrk, of which the median counts")
    parser.add_argument(
        "--asked", type=int, default=4000, help="requests to each in turn, over one connection"
    )
    parser.add_argument(
        "--slices", type=int, default=20, help="turns of a fifth of a second to each, over several"
    )
    parser.add_argument("--requests", type=int, default=200_000, help="after which memory is looked at again")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--only-bare", action="store_true", help="leave BentoML's guide and mlflow out")
    args = parser.parse_args()
    if {"wrk", "memory"} & set(args.parts):
        require_wrk()
    busy = os.getloadavg()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {busy:.1f} at the start")
    program = build()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        for model in args.models:
            bench(model, program, Path(folder), args)


if __name__ == "__main__":
    main()
