"""`python -m tests.bench.serving`: prints the table that the README keeps. Needs wrk, and a quiet machine."""

import argparse
import os
import platform
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.serving import requests, servers
from tests.bench.serving.interleaved import interleave, table
from tests.bench.serving.load import Request, Result, load, require_wrk
from tests.bench.serving.models import MODELS, images, make_bundle
from tests.bench.serving.servers import Server

CONNECTIONS = (1, 16, 64)
BASE = "bare"


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


def starts(lanes: list[Server]) -> None:
    """Start each three times in turn; the last ones stay."""
    taken: dict[str, list[float]] = {server.name: [] for server in lanes}
    for last in (False, False, True):
        for server in lanes:
            taken[server.name].append(server.start())
            if not last:
                server.stop()
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


def bench(model: str, folder: Path, args: argparse.Namespace) -> None:
    """Everything for one model."""
    bundle = make_bundle(model, folder)
    graph = folder / f"{model}.onnx"
    bare, ours = servers.bare(graph), servers.ours(model, bundle)
    started = [bare, ours]
    if not args.only_bare:
        started += [servers.guide(graph), servers.mlflow(graph, folder / f"{model}-mlflow")]
    try:
        starts(started)
        for rows, count in ((1, args.interleaved), (256, args.interleaved // 20)):
            asked = {BASE: requests.rows(bare.url, images(rows))} | requests.dialects(
                ours.url, model, images(rows)
            )
            title = f"{model}, {rows} row{'s' if rows > 1 else ''}, 1 connection, request by request"
            table(title, interleave(asked, count), BASE)
        heads = "what, connections, server, requests/s, of bare, CPU us a request, of bare, p50 ms, p99, p99.9, failed"
        print(f"\n| {heads.replace(', ', ' | ')} |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for rows in (1, 256):
            asked = images(rows)
            lanes = [Lane(BASE, bare, requests.rows(bare.url, asked))]
            lanes += [
                Lane(name, ours, one) for name, one in requests.dialects(ours.url, model, asked).items()
            ]
            if not args.only_bare and rows == 1:
                guide, mlflow = started[2:]
                lanes.append(Lane(guide.name, guide, requests.rows(guide.url, asked)))
                lanes.append(Lane(mlflow.name, mlflow, requests.invocations(mlflow.url, asked)))
            for connections in CONNECTIONS if rows == 1 else CONNECTIONS[:2]:
                compare(f"{model}, {rows} row{'s' if rows > 1 else ''}", lanes, connections, args, folder)
        memory(ours, requests.dialects(ours.url, model, images(1))["/predict"], args.requests, folder)
    finally:
        for server in started:
            server.stop()


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=3, help="turns, of which the median counts")
    parser.add_argument("--interleaved", type=int, default=4000, help="requests to each, in turn")
    parser.add_argument("--requests", type=int, default=200_000, help="after which memory is looked at again")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--only-bare", action="store_true", help="leave BentoML's guide and mlflow out")
    args = parser.parse_args()
    require_wrk()
    busy = os.getloadavg()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {busy:.1f} at the start")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        for model in args.models:
            bench(model, Path(folder), args)


if __name__ == "__main__":
    main()
