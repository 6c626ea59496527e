"""One of several processes that serve a release from the same sockets, as its supervisor's commands say.

It loads the release and says so, and accepts nothing until all are ready: `serve`. `listen` brings the public socket,
`drain` ends it, and so does the end of its supervisor.
"""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.serving.dataplane.app import DataPlane
from tidegate.serving.deployment.handover import GRACE
from tidegate.serving.http.admission import Held
from tidegate.serving.monitoring.process_collector import GroupCollector
from tidegate.serving.monitoring.process_group import Cell, Member
from tidegate.serving.monitoring.sharing import PUBLISH_EVERY
from tidegate.serving.server.acceptor import Acceptor
from tidegate.serving.server.channel import Channel
from tidegate.serving.server.endpoint_server import ACCEPTS, EndpointServer


@dataclass(frozen=True)
class Link:
    """What connects a process with its supervisor and the others.

    Attributes:
        channel: this process's end of its channel to the supervisor.
        member: its place in the memory that all share.
        private: the socket that it inherited and is to accept on.
    """

    channel: Channel
    member: Member
    private: socket.socket


class WorkerServer(EndpointServer):
    """A server that is one of several processes.

    Args:
        app: the service's ASGI application.
        link: to its supervisor.
        receive, delay, grpc_at: see `EndpointServer`.
    """

    def __init__(
        self,
        app: DataPlane,
        link: Link,
        receive: float,
        delay: float = 0.0,
        grpc_at: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(app, None, {}, receive, delay)
        self._link, self._later_grpc = link, grpc_at
        # Another process takes the place of one that answers wrong, and proves itself when it loads the release.
        app.unproved = self._leave
        self._tasks: set[asyncio.Task[None]] = set()
        self._acceptors: list[Acceptor] = []

    async def listen(self, listener: socket.socket) -> None:
        """Also accept on another socket."""
        self._acceptors.append(Acceptor(listener, self._protocol, self._share_of, ACCEPTS, self._tls))

    def _share_of(self, waiting: int, opening: int) -> int:
        """How many of the waiting connections are this process's, for all to have as many."""
        own, member = len(self.server_state.connections) + opening, self._link.member
        member.set(Cell.CONNECTIONS, own)
        others = member.of_serving(Cell.CONNECTIONS)
        return -(-(own + sum(others) + waiting) // (1 + len(others))) - own

    def _stop_accepting(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the release, and tell the supervisor; sockets are opened at its command."""
        await super().startup([] if sockets is None else sockets)
        self.loop.add_reader(self._link.channel.fileno(), self._receive_command)
        engine = self._plane.dispatcher.engine
        self._say("loaded", quick=engine.is_quick(0), private_bytes=_private_bytes())

    def _leave(self) -> None:
        self._keep(self.drain(GRACE))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say(self, state: str, **more: Any) -> None:
        self._link.channel.send({"state": state, **more})

    def _receive_command(self) -> None:
        with contextlib.suppress(BlockingIOError):
            found = self._link.channel.receive()
            if found is None:  # nobody is left who could take this process's place, or end it
                self.loop.remove_reader(self._link.channel.fileno())
                found = {"do": "drain", "grace": GRACE, "delay": 0.0}, None
            self._keep(self._execute(*found))

    async def _execute(self, command: dict[str, Any], passed: socket.socket | None) -> None:
        if command["do"] == "serve":
            await self._serve_all(command["processes"])
            self._say("serving")
        elif command["do"] == "listen" and passed is not None:
            await self.listen(passed)
            self._say("listening")
        elif command["do"] == "drain":
            await self.drain(command["grace"], command["delay"])
        elif command["do"] == "prove":
            self._say("proved", problem=await self.prove())

    async def _serve_all(self, processes: int) -> None:
        self._share(processes)
        if self._later_grpc is not None:
            await self._start_grpc(*self._later_grpc)
        await self.listen(self._link.private)

    def _share(self, processes: int) -> None:
        member, dispatcher = self._link.member, self._plane.dispatcher

        def elsewhere() -> Held:
            return Held(member.elsewhere(Cell.BODY_BYTES), member.elsewhere(Cell.EXPLAINING))

        def tell(held: Held) -> None:
            member.set(Cell.BODY_BYTES, held.body_bytes)
            member.set(Cell.EXPLAINING, held.explaining)

        dispatcher.admission.share(processes, elsewhere, tell)
        sharing = dispatcher.engine.metrics.share(member, GroupCollector(member, os.getppid()))

        async def publish() -> None:
            while True:
                member.set(Cell.BEAT, int(time.monotonic() * 1000))
                member.set(Cell.CONNECTIONS, len(self.server_state.connections))
                sharing.publish()
                await asyncio.sleep(PUBLISH_EVERY)

        self._publishing = asyncio.create_task(publish())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down; what was counted to the end stays."""
        await super().shutdown(sockets)
        sharing = self._plane.dispatcher.engine.metrics.sharing
        if sharing is not None:
            sharing.publish()


def run_worker(server: WorkerServer) -> int:
    """Serve until the end; return the process's exit code."""
    try:
        server.run(sockets=[])
    except KeyboardInterrupt:  # uvicorn raises the signal again that ended it
        return 130
    except SystemExit:  # the release did not start
        return 1
    finally:
        sys.stderr.flush()
    return 0


def _private_bytes() -> int:
    """Bytes of memory that this process alone has; 0 where the kernel does not say."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
