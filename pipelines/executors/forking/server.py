"""A fork server: `python -m tidegate.pipelines.executors.forking.server --fd N --kind JSON` forks processes.

A process that has imported TensorFlow and Keras and run no operation can be forked: its child builds and trains at
once, to the same bits as a fresh process. After the first operation TensorFlow has threads that a child would lack, and
the child would wait for them for ever. So nothing of the user's is imported here, no operation is run, and before each
fork the threads are counted: with one too many, the step is refused and its caller starts a process.
"""

import argparse
import contextlib
import ctypes
import os
import selectors
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

from tidegate.pipelines.executors.forking.child import run_child
from tidegate.pipelines.executors.forking.circumstances import circumstances, differences
from tidegate.pipelines.executors.forking.imports import Imports, Kind
from tidegate.pipelines.executors.forking.messages import receive, require_same_user, send


class ForkServer:
    """Serves one listening socket; one thread, one request at a time.

    Args:
        listener: of `messages.listen`.
        imports: what is imported before the first fork.
        owner: an open file; once its other end is closed, `run` returns.
    """

    def __init__(self, listener: socket.socket, imports: Imports, owner: int) -> None:
        self._mine = circumstances(os.environ)
        self._imports = imports
        self._selector = selectors.DefaultSelector()
        self._serving = True
        self._watch(listener, lambda: self._accept(listener))
        self._watch(owner, self._leave)

    def run(self) -> None:
        """Serve until the owner is gone; each step that still runs has a pipe of its own to its driver."""
        while self._serving:
            for key, _ in self._selector.select():
                key.data()

    def _leave(self) -> None:
        self._serving = False

    def _watch(self, file: Any, act: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, act)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        try:
            require_same_user(connection)
        except OSError:
            connection.close()
            return
        self._watch(connection, lambda: self._start(connection))

    def _start(self, connection: socket.socket) -> None:
        """The first document of a connection: fork, or say why not."""
        self._selector.unregister(connection)
        files: list[int] = []
        try:
            asked, files = receive(connection)
            why = self._refusal(asked)
            if why:
                send(connection, {"refused": why})
                connection.close()
            else:
                self._fork(connection, asked, files)
        except (EOFError, OSError):  # the caller is gone, or there is no room for a process
            connection.close()
        finally:
            for file in files:
                os.close(file)

    def _refusal(self, asked: dict[str, Any]) -> str:
        """Why a step must have a process of its own; "" if it may be forked."""
        other = differences(self._mine, asked["circumstances"])
        return (
            f"the fork server has other {', '.join(other)}"
            if other
            else self._imports.refusal(asked["own_code"], asked["names"])
        )

    def _fork(self, connection: socket.socket, asked: dict[str, Any], files: list[int]) -> None:
        with warnings.catch_warnings():  # Python 3.12 warns of the threads that were just counted
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            connection.close()
            run_child(self._imports.kind, asked, files)
        process = os.pidfd_open(pid)
        self._watch(process, lambda: self._reap(connection, pid, process))
        self._watch(connection, lambda: self._signal(connection, pid))
        with contextlib.suppress(OSError):  # a caller that has gone is seen when its connection is read
            send(connection, {"pid": pid}, [process])

    def _signal(self, connection: socket.socket, pid: int) -> None:
        """A later document of a connection: a signal for the step's process, or for its whole group."""
        try:
            asked, _ = receive(connection)
            (os.killpg if asked["group"] else os.kill)(pid, asked["signal"])
        except ProcessLookupError:
            return
        except (EOFError, OSError):  # the caller is gone, and with it its end of the step's pipe
            self._selector.unregister(connection)

    def _reap(self, connection: socket.socket, pid: int, process: int) -> None:
        self._selector.unregister(process)
        os.close(process)
        _, status = os.waitpid(pid, 0)
        if connection.fileno() in self._selector.get_map():
            self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            send(connection, {"code": os.waitstatus_to_exitcode(status)})
        connection.close()


def end_with_parent() -> None:
    """Have the kernel kill this process with the one that started it, even in the middle of an import."""
    parent_died_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(parent_died_signal, signal.SIGKILL)


def main() -> None:
    """Serve the socket that was passed on, until standard input closes."""
    parser = argparse.ArgumentParser(
        prog="python -m tidegate.pipelines.executors.forking.server", description=__doc__
    )
    parser.add_argument("--fd", type=int, required=True, help="a socket that listens")
    parser.add_argument("--kind", required=True, help="which processes it forks, as JSON")
    parser.add_argument(
        "--own-code", action="store_true", help="import what only a user's code may need, too"
    )
    parser.add_argument("--now", action="store_true", help="import before the first step comes")
    parser.add_argument("--room", help="makes room for the command lines of the steps")
    given = parser.parse_args()
    end_with_parent()
    imports = Imports(Kind.model_validate_json(given.kind), given.own_code)
    server = ForkServer(socket.socket(fileno=given.fd), imports, sys.stdin.fileno())
    if given.now:
        imports.make()
    server.run()
    os._exit(0)


if __name__ == "__main__":
    main()
