"""The command line of `python -m tidegate.serving.server`."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.serving.errors import ServerError
from tidegate.serving.http.admission import Limits
from tidegate.serving.http.cors import Cors
from tidegate.serving.http.settings import ServerSettings, check_binding, prove_seconds, stated_prove_every
from tidegate.serving.server.access import access_of
from tidegate.serving.server.process_count import processes

if TYPE_CHECKING:
    from tidegate.serving.http.tls import Certificate

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
    build.add_argument(
        "--processes",
        type=processes,
        default=os.environ.get("TIDEGATE_PROCESSES", "1"),
        metavar="N",
        help="that share the port; auto: one a CPU where requests are quick (1)",
    )
    who = build.add_argument_group("access")
    who.add_argument(
        "--keys", type=Path, help="file of API keys, lines NAME SHA256, read again when it changes"
    )
    who.add_argument(
        "--jwt",
        metavar="FILE",
        help="issuers of JSON Web Tokens, as `serving.jwt` of an experiment: a JSON file, or the JSON itself",
    )
    who.add_argument(
        "--rate-limit",
        metavar="FILE",
        help="requests of each caller, as `serving.rate_limit` of an experiment: a JSON file, or the JSON itself",
    )
    who.add_argument(
        "--allow-anonymous", action="store_true", help="needed to bind another host without keys or tokens"
    )
    who.add_argument(
        "--cors",
        action="append",
        metavar="ORIGIN",
        help="origin of web pages that may use it; * for all",
    )
    way = build.add_argument_group("how it is reached")
    way.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="certificate and its chain in PEM: HTTP and gRPC over TLS; read again when it changes",
    )
    way.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="its private key in PEM, without a password"
    )
    way.add_argument(
        "--path-prefix",
        type=_prefix,
        default="",
        metavar="/NAME",
        help="also answer paths that begin with it, for a proxy that does not take it away",
    )
    limits = build.add_argument_group("limits")
    for name, kind, default, words in (
        ("max-body", int, LIMITS.max_body_bytes, "bytes of one request"),
        ("max-rows", int, LIMITS.max_rows, "rows of one request"),
        ("receive-seconds", float, LIMITS.receive_seconds, "within which a request must be complete"),
        ("deadline-seconds", float, LIMITS.deadline_seconds, "after which a request is given up"),
        (
            "queue-seconds",
            float,
            LIMITS.queue_seconds,
            "that a request may wait; past that, new ones get 503",
        ),
    ):
        limits.add_argument(f"--{name}", type=kind, default=default, help=f"{words} ({default})")
    build.add_argument(
        "--access-log", type=_share, default=0.0, metavar="SHARE", help="of requests logged, 0 to 1"
    )
    build.add_argument(
        "--prove-every",
        default=stated_prove_every(),
        metavar="SECONDS",
        help="between two proofs by golden rows; 0: at the start only ($TIDEGATE_PROVE_EVERY, or 3600)",
    )
    kept = build.add_argument_group("recording")
    kept.add_argument(
        "--record",
        metavar="FILE",
        help="which requests are kept with their answers, as `serving.record` of an experiment: a JSON file, or the "
        "JSON itself",
    )
    kept.add_argument("--recordings", type=Path, metavar="FOLDER", help="where, of this endpoint alone")
    kept.add_argument("--recording-key", type=Path, metavar="FILE", help="the key that encrypts them")
    build.add_argument(
        "--drain-delay",
        type=float,
        default=0.0,
        help="seconds between not ready and not accepting, at SIGTERM",
    )
    return build


def settings_of(args: argparse.Namespace) -> ServerSettings:
    """The settings in the arguments; raises ServerError."""
    access = access_of(args.keys, args.jwt, args.rate_limit)
    if args.port is not None or args.grpc_port is not None:
        check_binding(args.host, access, args.allow_anonymous)
    limits = Limits(
        max_body_bytes=args.max_body,
        max_rows=args.max_rows,
        receive_seconds=args.receive_seconds,
        deadline_seconds=args.deadline_seconds,
        queue_seconds=args.queue_seconds,
    )
    cors = Cors(args.cors) if args.cors else None
    every = prove_seconds(args.prove_every)
    certificate = _certificate(args.tls_cert, args.tls_key)
    return ServerSettings(limits, access, cors, args.access_log, every, certificate, args.path_prefix)


def _certificate(file: Path | None, key: Path | None) -> "Certificate | None":
    if file is None and key is None:
        return None
    if file is None or key is None:
        given, missing = ("--tls-key", "--tls-cert") if file is None else ("--tls-cert", "--tls-key")
        raise ServerError(f"{given} is given alone; expected {missing} beside it; name both files")
    from tidegate.serving.http.tls import Certificate  # cryptography is imported by endpoints with TLS only

    return Certificate(file, key)


def _prefix(text: str) -> str:
    if text and (not text.startswith("/") or text.endswith("/") or not text.isascii() or {*text} & {*"?#% "}):
        raise argparse.ArgumentTypeError(f"{text!r} is not a prefix of paths; expected one such as /digits")
    return text


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share; expected a number from 0 to 1")
    return share
