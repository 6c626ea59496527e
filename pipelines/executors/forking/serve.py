"""The process of a fork server: `python -m tidegate.pipelines.executors.forking.serve --fd N --kind JSON`.

It ends with the process that started it; with `--stay` it ends by itself once nobody has used it for some time.
"""

import argparse
import ctypes
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from tidegate.infra.system.priority import give_way
from tidegate.pipelines.executors.forking.imports import Imports, Kind
from tidegate.pipelines.executors.forking.server import ForkServer
from tidegate.pipelines.executors.forking.staying import Stay


def end_with_parent() -> None:
    """Have the kernel kill this process with the one that started it, even in the middle of an import."""
    parent_died_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(parent_died_signal, signal.SIGKILL)


def main() -> None:
    """Serve the socket that was passed on."""
    parser = argparse.ArgumentParser(
        prog="python -m tidegate.pipelines.executors.forking.serve", description=__doc__
    )
    parser.add_argument("--fd", type=int, required=True, help="a socket that listens")
    parser.add_argument("--kind", required=True, help="which processes it forks, as JSON")
    parser.add_argument(
        "--own-code", action="store_true", help="import what only a user's code may need, too"
    )
    parser.add_argument("--now", action="store_true", help="import before the first step comes")
    parser.add_argument(
        "--stay", type=float, metavar="SECONDS", help="outlive the starter, and stay unused so long"
    )
    parser.add_argument("--records", type=Path, help="where a server that stays has its record")
    parser.add_argument("--name", help="of its record")
    parser.add_argument("--room", help="makes room for the command lines of the steps")
    given = parser.parse_args()
    imports = Imports(Kind.model_validate_json(given.kind), given.own_code)
    listener = socket.socket(fileno=given.fd)
    if given.stay is None:
        end_with_parent()
        _serve(listener, imports, None, given.now)
    else:
        _serve_long(listener, imports, Stay(given.records, given.name, given.stay))
    os._exit(0)


def _serve(listener: socket.socket, imports: Imports, stay: Stay | None, now: bool) -> None:
    server = ForkServer(listener, imports, stay)
    if stay is None:
        server.end_with(sys.stdin.fileno())
    if imports.kind.yields:  # after the server has noted what it was started with
        give_way()
    if now:
        imports.make()
    if stay is not None:
        _let_go()
    server.run()


def _serve_long(listener: socket.socket, imports: Imports, stay: Stay) -> None:
    try:
        _serve(listener, imports, stay, now=True)
    except BaseException:
        stay.failed(traceback.format_exc())
        os._exit(1)


def _let_go() -> None:
    """Keep no file of the home open, so that nothing hinders who removes it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


if __name__ == "__main__":
    main()
