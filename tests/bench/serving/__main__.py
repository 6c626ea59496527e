"""`python -m tests.bench.serving`: prints the tables that the README keeps. Needs wrk; about ten minutes in all.

In pieces: `--parts alternating --models mlp` is the comparison that the goals are about, a minute a model.
"""

import argparse
import os
import platform
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.serving import requests, servers
from tests.bench.serving.interleaved import HEAD, one_by_one, show, slices
from tests.bench.serving.load import Request, Result, load, require_wrk
from tests.bench.serving.models import MODELS, images, make_bundle
from tests.bench.serving.servers import Server

CONNECTIONS = (1, 16, 64)
BASE = "bare"
PARTS = ("starts", "alternating", "wrk", "memory")


@dataclass(frozen=True)
class Lane:
    """One server asked in one way, and its results round by round."""

    name: str
    server: Server
    request: Request


@dataclass(frozen=True)
class Measured:
    """One round: what wrk saw, and the server's CPU time a request in microseconds."""

    result: Result
    cpu: float


def measure(lane: Lane, connections: int, seconds: int, folder: Path) -> Measured:
    """One lane, once."""
    before = lane.server.cpu()
    result = load(lane.request, connections, seconds, folder)
    return Measured(result, (lane.server.cpu() - before) / max(1, result.requests) * 1e6)


def compare(title: str, lanes: list[Lane], connections: int, args: argparse.Namespace, folder: Path) -> None:
    """All lanes in turn, `args.rounds` times, so that a slow minute of the machine hits all; print their medians."""
    rounds = [
        [measure(lane, connections, args.seconds, folder) for lane in lanes] for _ in range(args.rounds)
    ]
    for place, lane in enumerate(lanes):
        own = [measured[place] for measured in rounds]
        ratios = [measured[place].result.rps / max(measured[0].result.rps, 0.01) for measured in rounds]
        work = [measured[0].cpu / max(measured[place].cpu, 0.01) for measured in rounds]

        def median(name: str, own: list[Measured] = own) -> float:
            return statistics.median(getattr(measured.result, name) for measured in own)

        failed = sum(measured.result.failed for measured in own)
        cells = [
            title,
            str(connections),
            lane.name,
            f"{median('rps'):.0f}",
            f"{statistics.median(ratios):.2f}x",
        ]
        cells += [f"{statistics.median(m.cpu for m in own):.0f}", f"{statistics.median(work):.2f}x"]
        cells += [f"{median(name):.2f}" for name in ("p50", "p99", "p999")]
        print(f"| {' | '.join([*cells, str(failed)])} |", flush=True)


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


def alternating(model: str, bare: Server, ours: Server, args: argparse.Namespace) -> None:
    """Every dialect and the bare server in turn: the table that the goals are about."""
    print(f"\n{HEAD}")
    for rows, connections in ((1, 1), (1, 16), (1, 64), (256, 1)):
        asked = {BASE: requests.rows(bare.url, images(rows))}
        asked |= requests.dialects(ours.url, model, images(rows))
        if connections == 1:
            found = one_by_one(asked, args.asked if rows == 1 else args.asked // 20, BASE)
        else:
            found = slices(asked, connections, args.slices, BASE)
        show(f"{model}, {rows} row{'s' if rows > 1 else ''}", connections, found)


def with_wrk(model: str, lanes: list[Lane], args: argparse.Namespace, folder: Path) -> None:
    """All servers, others too, in turn."""
    heads = "what, connections, server, requests/s, of bare, CPU us a request, of bare, p50 ms, p99, p99.9, failed"
    print(f"\n| {heads.replace(', ', ' | ')} |\n|{'---|' * 11}")
    for connections in CONNECTIONS:
        compare(f"{model}, 1 row, wrk", lanes, connections, args, folder)


def bench(model: str, folder: Path, args: argparse.Namespace) -> None:
    """The parts asked for, for one model."""
    bundle, graph, one = make_bundle(model, folder), folder / f"{model}.onnx", images(1)
    bare, ours = servers.bare(graph), servers.ours(model, bundle)
    lanes = [Lane(BASE, bare, requests.rows(bare.url, one))]
    lanes += [Lane(name, ours, asked) for name, asked in requests.dialects(ours.url, model, one).items()]
    if not args.only_bare and {"starts", "wrk"} & set(args.parts):
        guide, mlflow = servers.guide(graph), servers.mlflow(model, folder / f"{model}-mlflow")
        lanes.append(Lane(guide.name, guide, requests.rows(guide.url, one)))
        lanes.append(Lane(mlflow.name, mlflow, requests.invocations(mlflow.url, one)))
    started = list(dict.fromkeys(lane.server for lane in lanes))
    try:
        starts(started, 3 if "starts" in args.parts else 1)
        if "alternating" in args.parts:
            alternating(model, bare, ours, args)
        if "wrk" in args.parts:
            with_wrk(model, lanes, args, folder)
        if "memory" in args.parts:
            memory(ours, requests.dialects(ours.url, model, one)["/predict"], args.requests, folder)
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
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        for model in args.models:
            bench(model, Path(folder), args)


if __name__ == "__main__":
    main()
