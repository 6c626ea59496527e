"""The server's end of the control socket: one command per connection, executed in a thread of its own."""

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tidegate.serving.deployment.handover import bind, control_socket, read_line, request_socket, send_socket
from tidegate.serving.errors import PortTakenError, ServerError

COMMAND_SECONDS = 10.0
Result = TypeVar("Result")


class ControlledServer(Protocol):
    """A server that can be controlled."""

    loop: asyncio.AbstractEventLoop
    public: socket.socket | None

    @property
    def status(self) -> dict[str, Any]:
        """Process, ports and what is served."""

    async def listen(self, listener: socket.socket) -> None:
        """Also accept on another socket."""

    async def drain(self, grace: float) -> None:
        """Stop accepting, finish running requests, end."""

    async def prove(self) -> str:
        """Answer the golden rows now; "", or why that failed."""


class ControlSocket:
    """The control socket of one server.

    A thread with blocking calls, because the event loop cannot pass file descriptors, and so that a server whose event
    loop is busy still reports its status.
    """

    def __init__(self, path: Path, server: ControlledServer) -> None:
        self._path, self._server = path, server
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Create the socket and start to answer; raises ServerError."""
        self._socket = control_socket(self._path)
        threading.Thread(target=self._serve, args=(self._socket,), name="control", daemon=True).start()

    def close(self) -> None:
        """Remove the socket."""
        if self._socket is not None:
            self._path.unlink(missing_ok=True)
            self._socket.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            with connection, suppress(OSError, ValueError):
                connection.settimeout(COMMAND_SECONDS)
                self._execute(connection, json.loads(read_line(connection)))

    def _execute(self, connection: socket.socket, command: dict[str, Any]) -> None:
        public, found = self._server.public, dict[str, Any]()
        if command.get("do") == "hand" and public is not None:
            return send_socket(connection, public)
        try:
            if command.get("do") == "listen":
                self._listen(command)
            elif command.get("do") == "drain":
                self._await(self._server.drain(float(command["grace"])))
            elif command.get("do") == "prove":
                found["problem"] = self._await(self._server.prove())
            reply = self._server.status | found
        except PortTakenError:
            reply = {"error": "taken"}
        except (ServerError, OSError, TimeoutError) as error:
            reply = {"error": str(error)}
        connection.sendall(json.dumps(reply).encode() + b"\n")
        return None

    def _listen(self, command: dict[str, Any]) -> None:
        listener = listener_for(command, self._server.public)
        if listener is not None:
            self._await(self._server.listen(listener))

    def _await(self, call: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(call, self._server.loop).result(COMMAND_SECONDS)


def listener_for(command: dict[str, Any], public: socket.socket | None) -> socket.socket | None:
    """The socket to listen on at the command `listen`: the previous release's, or a new one.

    Args:
        command: with `host`, `port` and the control socket of the `previous` release.
        public: what the server listens on already.

    Returns:
        None if it listens on that port already.

    Raises:
        PortTakenError, ServerError: the port cannot be bound, or the server listens on another one.
    """
    host, port, previous = str(command["host"]), int(command["port"]), command.get("previous")
    if public is not None:
        current = public.getsockname()[1]
        if current != port:
            raise ServerError(f"it already serves port {current}")
        return None
    listener = None if previous is None else request_socket(Path(previous))
    if listener is not None and listener.getsockname()[1] != port:
        listener.close()
        listener = None
    return listener or bind(host, port)
