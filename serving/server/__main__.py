"""The process that serves a release: `python -m tidegate.serving.server`.

One uvicorn process runs the data plane, with BentoML's own application behind it. It starts on a private port, and
takes the endpoint's public port on the command `listen` (`deployment.handover`), or at once with `--port`.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tidegate.serving.dataplane.app import DataPlane
from tidegate.serving.dataplane.bentoml_app import BentoMLApp
from tidegate.serving.deployment.handover import bind
from tidegate.serving.errors import ServingError
from tidegate.serving.http.access_log import log_as_json
from tidegate.serving.http.asgi import App
from tidegate.serving.inference.release_loader import BUNDLE, NAME, RELEASE, load_engine, served_bundle
from tidegate.serving.server.arguments import parser, settings_of
from tidegate.serving.server.endpoint_server import EndpointServer, duplicates
from tidegate.serving.server.process_count import at_most
from tidegate.serving.server.recorded import recorded


def main(words: Sequence[str] | None = None) -> int:
    """Serve until a signal or `drain`; exit code 1 and one line on stderr when bundle, keys or port are not usable.

    Args:
        words: of the command line; default: those of this process.
    """
    args = parser().parse_args(words)
    _configure(args)
    gc.disable()  # nothing that is loaded now becomes garbage; collecting would take a tenth of the start
    try:
        settings = settings_of(args)
        load = recorded(args, load_engine)
        # First, so that a port that is in use is reported before the model is loaded.
        public = None if args.port is None else bind(args.host, args.port)
        most = at_most(args.processes, served_bundle())
        if most == 1:
            load_engine()
        private = bind("127.0.0.1", 0)
    except ServingError as error:
        print(error, file=sys.stderr)
        return 1
    plane = DataPlane(BentoMLApp(_bentoml), load, settings)
    bundle = served_bundle()
    number = os.environ.get(RELEASE)
    about = {
        "name": os.environ.get(NAME) or bundle.manifest.name,
        "release": int(number) if number else None,
        "bundle": os.environ[BUNDLE],
        "private_port": private.getsockname()[1],
    }
    grpc_at = None if args.grpc_port is None else (args.host, args.grpc_port)
    times = settings.limits.receive_seconds, args.drain_delay
    if most > 1:
        from tidegate.serving.server.several import Several

        several = Several(most, args.processes is None, plane, times, grpc_at, args.control, about)
        return several.run(private, public)
    log_as_json()
    server = EndpointServer(plane, args.control, about, *times, grpc_at)
    server.public = None if public is None else public.dup()
    server.run(sockets=[private, *([] if public is None else duplicates(public))])
    return 0


def _bentoml() -> tuple[App, Callable[[], dict[str, Any]]]:
    """The BentoML service's own application."""
    from tidegate.serving.server.service import Endpoint

    made: tuple[App, Callable[[], dict[str, Any]]] = Endpoint.bentoml_app()
    return made


def _configure(args: argparse.Namespace) -> None:
    """Pass the arguments on in the environment, where a service under `bentoml serve` finds them too."""
    variables = {NAME: args.name, RELEASE: args.release}
    os.environ[BUNDLE] = str(args.bundle.resolve())
    for variable, value in variables.items():
        os.environ.pop(variable, None)
        if value is not None:
            os.environ[variable] = str(value)
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")


if __name__ == "__main__":
    sys.exit(main())
