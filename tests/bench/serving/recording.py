"""`python -m tests.bench.serving.recording`: what it costs an endpoint to record, beside one that does not.

`--recorded N` also asks a server that records all of its requests so often, and prints its memory on the way.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop

from tests.bench.serving import servers
from tests.bench.serving.asker import ClosedLoop
from tests.bench.serving.interleaved import Measured, content, one_by_one, port
from tests.bench.serving.load import Request
from tests.bench.serving.models import make_bundle
from tests.bench.serving.servers import Server
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.http.json_body import encode
from tidegate.serving.recording.cipher import Cipher
from tidegate.serving.recording.segments import names_in

NOTHING = "nothing"
SHARES = {NOTHING: 0.0, "a twentieth": 0.05, "all": 1.0}
HEAD = "recorded, requests/s, of nothing, p99 ms, of nothing, CPU us a request, of nothing"
CONNECTIONS = 16


def lanes(bundle: Path, folder: Path) -> dict[str, Server]:
    """Servers by what they record."""
    key = folder / "recording.key"
    key.touch(mode=0o600)
    key.write_bytes(Cipher.new_key())
    made: dict[str, Server] = {}
    for name, share in SHARES.items():
        made[name] = servers.ours("mlp", bundle)
        if share:
            settings = json.dumps({"share": share, "rows_a_day": 1_000_000})
            place = str(folder / name.replace(" ", "-"))
            made[name].argv += ["--record", settings, "--recordings", place, "--recording-key", str(key)]
    return made


def rounds(known: dict[str, Server], body: bytes, args: argparse.Namespace) -> None:
    """Ask all in turn, request by request; print the medians of the rounds."""
    rates: dict[str, list[Measured]] = {name: [] for name in known}
    work: dict[str, list[float]] = {name: [] for name in known}
    requests = {name: Request(f"{server.url}/predict", body) for name, server in known.items()}
    for _ in range(args.rounds):
        used = {name: server.cpu() for name, server in known.items()}
        for name, found in one_by_one(requests, args.requests).items():
            rates[name].append(found)
            work[name].append((known[name].cpu() - used[name]) / args.requests * 1e6)
    for name, own in rates.items():
        latest = [float(np.percentile(found.taken, 99)) for found in own]
        base = [float(np.percentile(found.taken, 99)) for found in rates[NOTHING]]
        cells = [
            name,
            f"{statistics.median(found.rounds[0] for found in own):.0f}",
            f"{_ratio([one.rounds[0] for one in own], [one.rounds[0] for one in rates[NOTHING]]):.3f}",
            f"{statistics.median(latest):.2f}",
            f"{_ratio(latest, base):.3f}",
            f"{statistics.median(work[name]):.0f}",
            f"{_ratio(work[name], work[NOTHING]):.3f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _ratio(own: list[float], base: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(own, base, strict=True))


def memory(server: Server, body: bytes, count: int, folder: Path) -> None:
    """Ask a server that records everything `count` times over several connections; print its memory ten times."""
    request = Request(f"{server.url}/predict", body)
    print("\n| requests | MB | segments |\n|---|---|---|")

    async def ask() -> None:
        loop = ClosedLoop("all", port(request), content(request))
        asked, next_line = 0, 0
        while asked < count:
            await loop.slice(1.0, CONNECTIONS)
            asked += len(loop.taken)
            loop.taken.clear()
            if asked >= next_line:
                print(f"| {asked:,} | {server.memory():.1f} | {len(names_in(folder))} |", flush=True)
                next_line += count // 10
        loop.close()

    began = time.perf_counter()
    uvloop.run(ask())
    print(f"\n{count / (time.perf_counter() - began):.0f} requests/s")


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving.recording", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="of each round, to each")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recorded", type=int, default=0, help="requests in a row, for the memory")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"\n| {HEAD.replace(', ', ' | ')} |\n|{'---|' * 7}")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        bundle = make_bundle("mlp", folder)
        known, body = lanes(bundle, folder), encode({"rows": open_bundle(bundle).sample[:1]})
        try:
            for server in known.values():
                server.start()
            rounds(known, body, args)
            if args.recorded:
                memory(known["all"], body, args.recorded, folder / "all")
        finally:
            for server in known.values():
                server.stop()


if __name__ == "__main__":
    main()
