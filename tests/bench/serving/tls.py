"""`python -m tests.bench.serving.tls`: what TLS costs an endpoint, for each request and for each new connection."""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from tests.bench.serving import servers
from tests.bench.serving.load import Request, load, require_wrk
from tests.bench.serving.models import make_bundle
from tests.bench.serving.servers import Server
from tests.certificates import Authority
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.deployment.connections import Trust
from tidegate.serving.http.json_body import encode

HEAD = "connection, key, requests/s, of HTTP, CPU us a request, of HTTP, p50 ms, p99, failed"
MEDIA = ("Content-Type", "application/json")
KEPT, NEW = {"kept": (MEDIA,), "new": (MEDIA, ("Connection", "close"))}.items()


def lanes(bundle: Path, folder: Path) -> list[Server]:
    """Without TLS first, then with a key on a curve and an RSA key."""
    authority, plain = Authority(), servers.ours("mlp", bundle)
    plain.name = "none"
    made = [plain]
    for name, rsa_key in (("P-256", False), ("RSA 2048", True)):
        place = folder / name
        place.mkdir()
        certificate, key = authority.issue("127.0.0.1", rsa_key=rsa_key).write(place)
        server = servers.ours("mlp", bundle)
        server.name, server.trust = name, Trust(authority.pem.decode())
        server.argv += ["--tls-cert", str(certificate), "--tls-key", str(key)]
        made.append(server)
    return made


def compare(known: list[Server], body: bytes, args: argparse.Namespace, folder: Path) -> None:
    """All in turn, on connections that are kept and on new ones; print the medians of the rounds."""
    for kind, headers in (KEPT, NEW):
        rounds = []
        for _ in range(args.rounds):
            found = []
            for server in known:
                before = server.cpu()
                request = Request(f"{server.url}/predict", body, headers)
                result = load(request, args.connections, args.seconds, folder)
                found.append((result, (server.cpu() - before) / max(1, result.requests) * 1e6))
            rounds.append(found)
        for place, server in enumerate(known):
            own = [measured[place] for measured in rounds]
            rate = statistics.median(found[place][0].rps / found[0][0].rps for found in rounds)
            work = statistics.median(found[place][1] / found[0][1] for found in rounds)
            cells = [
                kind,
                server.name,
                f"{statistics.median(result.rps for result, _ in own):.0f}",
                f"{rate:.2f}x",
            ]
            cells += [f"{statistics.median(cpu for _, cpu in own):.0f}", f"{work:.2f}x"]
            cells += [f"{statistics.median(result.p50 for result, _ in own):.2f}"]
            cells += [f"{statistics.median(result.p99 for result, _ in own):.2f}"]
            cells += [str(sum(result.failed for result, _ in own))]
            print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving.tls", description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=2, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    args = parser.parse_args()
    require_wrk()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"\n| {HEAD.replace(', ', ' | ')} |\n|{'---|' * 9}")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        bundle = make_bundle("mlp", Path(folder))
        body = encode({"rows": open_bundle(bundle).sample[:1]})
        known = lanes(bundle, Path(folder))
        try:
            for server in known:
                server.start()
            compare(known, body, args, Path(folder))
        finally:
            for server in known:
                server.stop()


if __name__ == "__main__":
    main()
