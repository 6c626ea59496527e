"""The control socket of a server of several processes: the commands of `control_socket`, in the supervisor's loop."""

import asyncio
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tidegate.serving.deployment.handover import MAX_LINE, control_socket, send_socket
from tidegate.serving.errors import PortTakenError, ServerError
from tidegate.serving.server.control_socket import COMMAND_SECONDS, listener_for
from tidegate.serving.server.supervisor import Supervisor


class SupervisorControl:
    """Answers the commands for all processes at once.

    Args:
        path: of the control socket.
        supervisor: of the processes.
        about: what `status` returns in addition to process, port and whether it drains.
    """

    def __init__(self, path: Path, supervisor: Supervisor, about: dict[str, Any]) -> None:
        self._path, self._supervisor, self._about = path, supervisor, about
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Create the socket and start to answer: the server is ready."""
        listener = control_socket(self._path)
        listener.setblocking(False)
        self._supervisor.private_to_parent.append(listener)
        self._keep(self._accept(listener))

    def close(self) -> None:
        """Remove the socket."""
        self._path.unlink(missing_ok=True)

    def _keep(self, work: Any) -> None:
        task = self._supervisor.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = await self._supervisor.loop.sock_accept(listener)
            self._keep(self._answer(connection))

    async def _answer(self, connection: socket.socket) -> None:
        self._supervisor.private_to_parent.append(connection)
        with connection, suppress(OSError, ValueError, TimeoutError):
            command = json.loads(await self._read(connection))
            public = self._supervisor.public
            if command.get("do") == "hand" and public is not None:
                connection.setblocking(True)
                send_socket(connection, public)
            else:
                reply = json.dumps(await self._execute(command)).encode() + b"\n"
                await self._supervisor.loop.sock_sendall(connection, reply)
        self._supervisor.private_to_parent.remove(connection)

    async def _read(self, connection: socket.socket) -> bytes:
        connection.setblocking(False)
        content = b""
        async with asyncio.timeout(COMMAND_SECONDS):
            while not content.endswith(b"\n") and len(content) < MAX_LINE:
                part = await self._supervisor.loop.sock_recv(connection, MAX_LINE)
                if not part:
                    break
                content += part
        return content

    async def _execute(self, command: dict[str, Any]) -> dict[str, Any]:
        supervisor, problem = self._supervisor, ""
        try:
            if command.get("do") == "listen":
                listener = listener_for(command, supervisor.public)
                if listener is not None:
                    await supervisor.listen(listener)
            elif command.get("do") == "drain":
                supervisor.drain(float(command["grace"]))
            elif command.get("do") == "prove":
                problem = await supervisor.prove()
        except PortTakenError:
            return {"error": "taken"}
        except (ServerError, OSError, TimeoutError) as error:
            return {"error": str(error)}
        port = None if supervisor.public is None else supervisor.public.getsockname()[1]
        about = {**self._about, "pid": os.getpid(), "port": port, "draining": supervisor.draining}
        return about | {"problem": problem}
