"""A fork server: it forks the processes that it is asked for.

A process that has imported TensorFlow and Keras and run no operation can be forked: its child builds and trains at
once, to the same bits as a fresh process. After the first operation TensorFlow has threads that a child would lack, and
the child would wait for them for ever. So nothing of the user's is imported here, no operation is run, and before each
fork the threads are counted: with one too many, the step is refused and its caller starts a process.
"""

import contextlib
import os
import selectors
import socket
import time
import warnings
from collections.abc import Callable
from typing import Any

from tidegate.pipelines.executors.forking.child import run_child
from tidegate.pipelines.executors.forking.circumstances import circumstances, differences
from tidegate.pipelines.executors.forking.code_version import first_seen, installed
from tidegate.pipelines.executors.forking.idle_memory import give_back
from tidegate.pipelines.executors.forking.imports import Imports
from tidegate.pipelines.executors.forking.messages import receive, require_same_user, send
from tidegate.pipelines.executors.forking.staying import Stay

LOOK_S = 1.0  # between two looks at the files of our code


class ForkServer:
    """Serves one listening socket; one thread, one request at a time.

    Args:
        listener: of `messages.listen`.
        imports: what is imported before the first fork.
        stay: when it ends if it has no owner.
    """

    def __init__(self, listener: socket.socket, imports: Imports, stay: Stay | None = None) -> None:
        self._mine = circumstances(os.environ)
        self._looked = time.monotonic()
        self._imports, self._stay = imports, stay
        self._selector = selectors.DefaultSelector()
        self._serving = True
        self._users = self._steps = 0
        self._watch(listener, lambda: self._accept(listener))

    def run(self) -> None:
        """Serve until the owner is gone, or nobody has come for long; each step has a pipe to its own driver."""
        while self._serving:
            ready = self._selector.select(self._stay.wait_s if self._stay else None)
            for key, _ in ready:
                key.data()
            if self._stay and not ready and not self._users and not self._steps:
                self._rest(self._stay)

    def end_with(self, owner: int) -> None:
        """Have `run` return once the other end of this open file is closed."""
        self._watch(owner, self._end)

    def _rest(self, stay: Stay) -> None:
        """Nobody uses it: end, or be small."""
        if stay.is_over():
            self._try_to_end(stay)
        elif not stay.resting:
            stay.resting = True
            give_back()

    def _try_to_end(self, stay: Stay) -> None:
        """End, unless somebody looks for a server just now, or has connected already."""
        with stay.last_look() as nobody_looks:
            if nobody_looks and not self._selector.select(0):
                stay.forget()
                self._end()

    def _end(self) -> None:
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
        self._watch(connection, lambda: self._begin(connection))

    def _begin(self, connection: socket.socket) -> None:
        """The first document of a connection says what is asked."""
        self._selector.unregister(connection)
        files: list[int] = []
        try:
            asked, files = receive(connection)
            if asked["ask"] == "fork":
                self._start(connection, asked, files)
            elif asked["ask"] == "stay":
                self._attend(connection, asked["seconds"])
            else:
                self._answer(connection, asked["ask"])
        except (EOFError, OSError):  # the caller is gone, or there is no room for a process
            connection.close()
        finally:
            for file in files:
                os.close(file)

    def _attend(self, connection: socket.socket, seconds: float) -> None:
        """Stay while this connection is open, and `seconds` longer."""
        self._users += 1
        self._used()
        self._watch(connection, lambda: self._leave(connection, seconds))

    def _leave(self, connection: socket.socket, seconds: float) -> None:
        self._selector.unregister(connection)
        connection.close()
        self._users -= 1
        self._used(seconds)

    def _used(self, seconds: float | None = None) -> None:
        if self._stay:
            self._stay.use(seconds)

    def _answer(self, connection: socket.socket, asked: str) -> None:
        """Tell the state of this server; if it is asked to retire, it ends once nobody uses it."""
        with connection:
            if self._stay:
                self._stay.retired |= asked == "retire"
                state = {"users": self._users, "steps": self._steps, "retired": self._stay.retired}
                send(connection, {**state, "idle_s": self._stay.idle_s, "left_s": self._stay.left_s})

    def _start(self, connection: socket.socket, asked: dict[str, Any], files: list[int]) -> None:
        """Fork, or say why not."""
        why = self._refusal(asked)
        if why:
            send(connection, {"refused": why})
            connection.close()
        else:
            self._fork(connection, asked, files)

    def _refusal(self, asked: dict[str, Any]) -> str:
        """Why a step must have a process of its own; "" if it may be forked."""
        other = differences(self._mine, asked["circumstances"]) or self._changed()
        return (
            f"the fork server has other {', '.join(other)}"
            if other
            else self._imports.refusal(asked["own_code"], asked["names"])
        )

    def _changed(self) -> list[str]:
        """What is another one on disk than here; a step would import the rest of it from there."""
        if time.monotonic() - self._looked < LOOK_S:
            return []
        changed = differences(first_seen(), installed())
        if not changed:
            self._looked = time.monotonic()
        elif self._stay:
            self._stay.retired = True
        return changed

    def _fork(self, connection: socket.socket, asked: dict[str, Any], files: list[int]) -> None:
        with warnings.catch_warnings():  # Python 3.12 warns of the threads that were just counted
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            connection.close()
            run_child(self._imports.kind, asked, files)
        self._steps += 1
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
        self._steps -= 1
        self._used()
        if connection.fileno() in self._selector.get_map():
            self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            send(connection, {"code": os.waitstatus_to_exitcode(status)})
        connection.close()
