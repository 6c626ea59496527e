"""The server's end of the control socket: one order a connection, answered by a thread of its own."""

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tidegate.serving.deployment.handover import ask_socket, bind, control_socket, hand_socket, read_line
from tidegate.serving.errors import PortTakenError, ServerError

ORDER_SECONDS = 10.0


class Controlled(Protocol):
    """What a server lets itself be told."""

    loop: asyncio.AbstractEventLoop
    public: socket.socket | None

    @property
    def status(self) -> dict[str, Any]:
        """Process, ports and what is served."""

    async def listen(self, listener: socket.socket) -> None:
        """Accept on another socket too."""

    async def drain(self, grace: float) -> None:
        """Stop accepting, finish, end."""


class Control:
    """The control socket of one server.

    A thread with blocking calls, because the event loop cannot pass descriptors, and so that a server
    whose loop is busy still says that it lives.
    """

    def __init__(self, path: Path, server: Controlled) -> None:
        self._path, self._server = path, server
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Appear, and answer from now on; raises ServerError."""
        self._socket = control_socket(self._path)
        threading.Thread(target=self._answer, args=(self._socket,), name="control", daemon=True).start()

    def close(self) -> None:
        """Disappear."""
        if self._socket is not None:
            self._path.unlink(missing_ok=True)
            self._socket.close()

    def _answer(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            with connection, suppress(OSError, ValueError):
                connection.settimeout(ORDER_SECONDS)
                self._obey(connection, json.loads(read_line(connection)))

    def _obey(self, connection: socket.socket, order: dict[str, Any]) -> None:
        public = self._server.public
        if order.get("do") == "hand" and public is not None:
            return hand_socket(connection, public)
        try:
            if order.get("do") == "listen":
                self._listen(str(order["host"]), int(order["port"]), order.get("previous"))
            elif order.get("do") == "drain":
                self._await(self._server.drain(float(order["grace"])))
            reply = self._server.status
        except PortTakenError:
            reply = {"error": "taken"}
        except (ServerError, OSError, TimeoutError) as error:
            reply = {"error": str(error)}
        connection.sendall(json.dumps(reply).encode() + b"\n")
        return None

    def _listen(self, host: str, port: int, previous: str | None) -> None:
        if self._server.public is not None:
            current = self._server.public.getsockname()[1]
            if current != port:
                raise ServerError(f"it serves port {current} already")
            return
        listener = None if previous is None else ask_socket(Path(previous))
        if listener is not None and listener.getsockname()[1] != port:
            listener.close()
            listener = None
        self._await(self._server.listen(listener or bind(host, port)))

    def _await(self, order: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(order, self._server.loop).result(ORDER_SECONDS)
