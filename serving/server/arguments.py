"""The command line of `python -m tidegate.serving.server`."""

import argparse
from pathlib import Path

from tidegate.serving.http.admission import Limits
from tidegate.serving.http.api_keys import Keys
from tidegate.serving.http.cors import Cors
from tidegate.serving.http.settings import Settings, check_binding

LIMITS = Limits()


def parser() -> argparse.ArgumentParser:
    """Build the parser."""
    build = argparse.ArgumentParser(
        prog="python -m tidegate.serving.server", description="Serve one release."
    )
    build.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    build.add_argument("--name", help="the endpoint's name; the bundle's own when not given")
    build.add_argument("--release", type=int, help="the release's number")
    build.add_argument("--control", type=Path, help="path of the control socket")
    build.add_argument("--port", type=int, help="take this public port at once")
    build.add_argument("--grpc-port", type=int, help="also speak the Open Inference Protocol over gRPC, here")
    build.add_argument("--host", default="127.0.0.1", help="address of the public port")
    who = build.add_argument_group("who may ask")
    who.add_argument(
        "--keys", type=Path, help="file of API keys, lines NAME SHA256, read again when it changes"
    )
    who.add_argument(
        "--allow-anonymous", action="store_true", help="needed to bind another host without keys"
    )
    who.add_argument("--cors", action="append", metavar="ORIGIN", help="web pages that may ask; * for all")
    limits = build.add_argument_group("limits")
    for name, kind, default, words in (
        ("max-body", int, LIMITS.body, "bytes of one request"),
        ("max-rows", int, LIMITS.rows, "rows of one request"),
        ("receive-seconds", float, LIMITS.receive, "in which a request must have come"),
        ("deadline-seconds", float, LIMITS.deadline, "after which a request is given up"),
        ("queue-seconds", float, LIMITS.queue, "that a request may wait; past that, new ones get 503"),
    ):
        limits.add_argument(f"--{name}", type=kind, default=default, help=f"{words} ({default})")
    build.add_argument(
        "--access-log", type=_share, default=0.0, metavar="SHARE", help="of requests logged, 0 to 1"
    )
    build.add_argument(
        "--drain-delay",
        type=float,
        default=0.0,
        help="seconds between not ready and not accepting, at SIGTERM",
    )
    return build


def settings_of(args: argparse.Namespace) -> Settings:
    """What the arguments ask for; raises ServerError."""
    keys = None if args.keys is None else Keys(args.keys)
    if args.port is not None or args.grpc_port is not None:
        check_binding(args.host, keys, args.allow_anonymous)
    limits = Limits(
        body=args.max_body,
        rows=args.max_rows,
        receive=args.receive_seconds,
        deadline=args.deadline_seconds,
        queue=args.queue_seconds,
    )
    return Settings(limits, keys, Cors(args.cors) if args.cors else None, args.access_log)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; expected a number from 0 to 1")
    return share
