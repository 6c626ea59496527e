"""`python -m tests.bench.serving.processes`: an endpoint of several processes beside one of one process, in turn.

Client and server share the machine: where wrk has no core of its own, requests a second cannot double. CPU time a
request, the connections of each process and memory do not depend on that.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import psutil

from tests.bench.serving import servers
from tests.bench.serving.load import Request, Result, load, require_wrk
from tests.bench.serving.models import MODELS, make_bundle
from tests.bench.serving.servers import Server
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.http.json_body import encode

CONNECTIONS = (1, 16, 64)
HEAD = "model, connections, processes, requests/s, of one, CPU us a request, of one, p50 ms, p99, failed, most busy"


def lane(model: str, bundle: Path, processes: int) -> Server:
    """An endpoint of so many processes."""
    server = servers.ours(model, bundle)
    server.name = str(processes)
    server.argv += ["--processes", str(processes)]
    return server


def spent(server: Server) -> list[float]:
    """CPU seconds of each process that serves."""
    assert server.process is not None
    parent = psutil.Process(server.process.pid)
    return [sum(process.cpu_times()[:2]) for process in parent.children() or [parent]]


class Round:
    """One run of wrk: its result, CPU microseconds a request, and the busiest process's part of the CPU time."""

    def __init__(
        self, server: Server, request: Request, connections: int, seconds: int, folder: Path
    ) -> None:
        before = spent(server)
        self.result: Result = load(request, connections, seconds, folder)
        used = [after - own for after, own in zip(spent(server), before, strict=True)]
        self.cpu = sum(used) / max(1, self.result.requests) * 1e6
        self.busiest = max(used) / max(sum(used), 1e-9)


def compare(
    model: str, lanes: list[Server], request: Request, args: argparse.Namespace, folder: Path
) -> None:
    """All lanes in turn, for each number of connections."""
    for connections in CONNECTIONS:
        rounds = [
            [
                Round(
                    server, Request(server.url + request.url, request.body), connections, args.seconds, folder
                )
                for server in lanes
            ]
            for _ in range(args.rounds)
        ]
        for place, server in enumerate(lanes):
            own = [measured[place] for measured in rounds]
            rate = statistics.median(m[place].result.rps / m[0].result.rps for m in rounds)
            work = statistics.median(m[place].cpu / m[0].cpu for m in rounds)
            cells = [model, str(connections), server.name]
            cells += [f"{statistics.median(m.result.rps for m in own):.0f}", f"{rate:.2f}x"]
            cells += [f"{statistics.median(m.cpu for m in own):.0f}", f"{work:.2f}x"]
            cells += [f"{statistics.median(m.result.p50 for m in own):.2f}"]
            cells += [f"{statistics.median(m.result.p99 for m in own):.2f}"]
            cells += [str(sum(m.result.failed for m in own))]
            cells += [f"{statistics.median(m.busiest for m in own):.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def bench(model: str, args: argparse.Namespace, folder: Path) -> None:
    """One model: start, requests, memory."""
    bundle = make_bundle(model, folder)
    request = Request("/predict", encode({"rows": open_bundle(bundle).sample[:1]}))
    lanes = [lane(model, bundle, processes) for processes in args.processes]
    try:
        started = [(server.start(), server.memory()) for server in lanes]
        compare(model, lanes, request, args, folder)
        first = lanes[0].memory()
        for server, (seconds, memory) in zip(lanes, started, strict=True):
            now = server.memory()
            print(
                f"{model}, {server.name} processes: ready after {seconds:.2f} s; {memory:.0f} MB PSS at the start "
                f"({memory / started[0][1]:.2f}x), {now:.0f} MB at the end ({now / first:.2f}x)",
                flush=True,
            )
    finally:
        for server in lanes:
            server.stop()


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving.processes", description=__doc__)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2], help="the first is the base")
    parser.add_argument("--seconds", type=int, default=2, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=5, help="runs of wrk, of which the median counts")
    parser.add_argument("--models", nargs="+", default=["mlp"], choices=list(MODELS))
    args = parser.parse_args()
    require_wrk()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"\n| {HEAD.replace(', ', ' | ')} |\n|{'---|' * 11}")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        for model in args.models:
            bench(model, args, Path(folder))


if __name__ == "__main__":
    main()
