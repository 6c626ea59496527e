"""`python -m tests.bench.serving.callers`: what it costs an endpoint to ask who asks, beside one that does not.

`--before FOLDER` adds an older checkout's endpoint that asks nobody: what this one must not be slower than.
"""

import argparse
import hashlib
import json
import os
import statistics
import tempfile
from pathlib import Path

from tests.bench.serving import servers
from tests.bench.serving.interleaved import Measured, one_by_one
from tests.bench.serving.load import Request
from tests.bench.serving.models import make_bundle
from tests.bench.serving.servers import Server
from tests.serving.http.tokens.issuers import NAME, Key, new_key, token
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.http.json_body import encode

HEAD = "who asks, requests/s, of anybody, CPU us a request, of anybody"
LIMIT = json.dumps({"requests": 1_000_000_000})


def lanes(bundle: Path, folder: Path, key: Key, before: Path | None) -> dict[str, tuple[Server, str]]:
    """Servers by who may ask, each with the word that a request says."""
    (folder / "login.jwks").write_text(json.dumps({"keys": [key.public]}))
    (folder / "keys").write_text(f"alice {hashlib.sha256(b'alices-key').hexdigest()}\n")
    issuer = json.dumps({"issuer": NAME, "audience": "digits", "jwks": "login"})
    word = token(key, exp=4_000_000_000)
    given = {
        "anybody": ([], ""),
        "a key": (["--keys", str(folder / "keys")], "alices-key"),
        "a token": (["--jwt", issuer], word),
        "a token, limited": (["--jwt", issuer, "--rate-limit", LIMIT], word),
    }
    made: dict[str, tuple[Server, str]] = {}
    for name, (more, said) in given.items():
        server = servers.ours("mlp", bundle)
        server.argv += more
        server.env = {"TIDEGATE_SECRETS": str(folder)}
        made[name] = (server, said)
    if before is not None:
        older = servers.ours("mlp", bundle)
        older.env = {"PYTHONPATH": str(before)}
        made["anybody, before"] = (older, "")
    return made


def rounds(known: dict[str, tuple[Server, str]], body: bytes, args: argparse.Namespace) -> None:
    """Ask all in turn, request by request; print the medians of the rounds."""
    rates: dict[str, list[Measured]] = {name: [] for name in known}
    work: dict[str, list[float]] = {name: [] for name in known}
    requests = {
        name: Request(f"{server.url}/predict", body, (("Authorization", f"Bearer {word}"),) if word else ())
        for name, (server, word) in known.items()
    }
    for _ in range(args.rounds):
        used = {name: server.cpu() for name, (server, _) in known.items()}
        for name, found in one_by_one(requests, args.requests).items():
            rates[name].append(found)
            work[name].append((known[name][0].cpu() - used[name]) / args.requests * 1e6)
    for name, own in rates.items():
        cells = [name, f"{statistics.median(found.rounds[0] for found in own):.0f}"]
        faster = [found.times(base) for found, base in zip(own, rates["anybody"], strict=True)]
        cells += [f"{statistics.median(faster):.3f}", f"{statistics.median(work[name]):.0f}"]
        more = [spent / base for spent, base in zip(work[name], work["anybody"], strict=True)]
        print(f"| {' | '.join([*cells, f'{statistics.median(more):.3f}'])} |", flush=True)


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving.callers", description=__doc__)
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER", help="with the package tidegate of an older checkout"
    )
    parser.add_argument("--requests", type=int, default=2000, help="of each round, to each")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"\n| {HEAD.replace(', ', ' | ')} |\n|{'---|' * 5}")
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        bundle = make_bundle("mlp", folder)
        known = lanes(bundle, folder, new_key(algorithm="ES256"), args.before)
        try:
            for server, _ in known.values():
                server.start()
            rounds(known, encode({"rows": open_bundle(bundle).sample[:1]}), args)
        finally:
            for server, _ in known.values():
                server.stop()


if __name__ == "__main__":
    main()
