"""The uvicorn server of an endpoint: it can take a port while it runs, and drains before it ends."""

import asyncio
import gc
import os
import socket
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from tidegate.serving.dataplane.app import DataPlane
from tidegate.serving.deployment.handover import GRACE
from tidegate.serving.dialects.v2 import V2
from tidegate.serving.server.control_socket import ControlSocket
from tidegate.serving.server.http_protocol import EndpointProtocol, close_slow_connections

if TYPE_CHECKING:
    from tidegate.serving.grpc_v2.server import GrpcServer

# Seconds that an idle connection stays open; behind a proxy, longer than the proxy keeps it.
KEEP_ALIVE = int(os.environ.get("TIDEGATE_KEEP_ALIVE", "5"))
GC_THRESHOLDS = (20_000, 20, 20)  # rarely: what a request leaves behind has no reference cycles
ACCEPTS = 16  # connections accepted in one turn of the event loop: it takes one for each handle on a socket
MOVE_SECONDS = 1.0  # within which a busy keep-alive client sends again and learns that it must reconnect


class EndpointServer(uvicorn.Server):
    """A uvicorn server that can take a port while it runs, and drains before it ends.

    Args:
        app: the service's ASGI application.
        control: path of its control socket, which appears when it is ready; None for none.
        about: what `status` returns in addition to process and ports.
        receive: seconds within which a request must be complete.
        delay: seconds between SIGTERM, when it is not ready any more, and the moment it stops accepting: others need
            them to notice.
        grpc_at: host and port of the gRPC server; None for none.
    """

    def __init__(
        self,
        app: DataPlane,
        control: Path | None,
        about: dict[str, Any],
        receive: float,
        delay: float = 0.0,
        grpc_at: tuple[str, int] | None = None,
    ) -> None:
        self._certificate, EndpointProtocol.prefix = (
            app.settings.certificate,
            app.settings.path_prefix.encode(),
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=int(GRACE),
            http=EndpointProtocol,
            log_config=None,
            ws="none",
            proxy_headers=False,  # the client's address is not used
        )
        super().__init__(config)
        self.about = about
        self.public: socket.socket | None = None
        self._plane = app
        self._control = None if control is None else ControlSocket(control, self)
        self._draining: asyncio.Task[None] | None = None
        self._receive, self._delay, self._grpc_at = receive, delay, grpc_at
        self._grpc: GrpcServer | None = None
        app.backlog = lambda: EndpointProtocol.pending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then open the control socket: when it answers, the server is ready."""
        # Those with TLS are not left to uvicorn, which waits a minute for a handshake.
        secured = [] if self._certificate is None else sockets or []
        await super().startup([] if secured else sockets)
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        self.loop = asyncio.get_running_loop()
        for handle in secured:
            await self._accept_from(handle)
        if self._grpc_at is not None:
            await self._start_grpc(*self._grpc_at)
        self._sweep = asyncio.create_task(close_slow_connections(self.server_state, self._receive))
        if self._control is not None and self.started:
            self._control.open()

    async def _start_grpc(self, host: str, port: int) -> None:
        from tidegate.serving.grpc_v2.server import GrpcServer

        dispatcher = self._plane.dispatcher
        self._grpc = GrpcServer(dispatcher, V2(dispatcher.engine.served), self._plane.is_ready)
        await self._grpc.start(host, port)

    async def _accept_from(self, handle: socket.socket) -> None:
        backlog = self.config.backlog
        self.servers.append(
            await self.loop.create_server(self._protocol, sock=handle, backlog=backlog, **self._tls)
        )

    @property
    def _tls(self) -> dict[str, Any]:
        """What the event loop is given for TLS; a client must be as quick with its handshake as with a request."""
        if self._certificate is None:
            return {}
        return {"ssl": self._certificate.context, "ssl_handshake_timeout": self._receive}

    async def listen(self, listener: socket.socket) -> None:
        """Also accept on another socket, the public one."""
        self.public = listener.dup()  # to pass on to the next release: the event loop owns the others
        for handle in duplicates(listener):
            await self._accept_from(handle)

    async def drain(self, grace: float, delay: float = 0.0) -> None:
        """Stop being ready, after `delay` s stop accepting, finish running requests, end within `grace` s more.

        From the start, responses tell clients to close their connection and open another one.
        """
        if self._draining is None:
            self.config.timeout_graceful_shutdown = max(1, int(grace))
            self._draining = asyncio.create_task(self._drain(delay))

    async def prove(self) -> str:
        """Prove the release now, see `Prover.prove`."""
        return await self._plane.prover.prove()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down as uvicorn does, and remove the control socket."""
        if self._control is not None:
            self._control.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal; end at once at the second."""
        if self.started and self._draining is None:
            self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.drain(GRACE, self._delay)))
        else:
            super().handle_exit(sig, frame)

    @property
    def status(self) -> dict[str, Any]:
        """Process, ports and what is served."""
        return {
            **self.about,
            "pid": os.getpid(),
            "port": None if self.public is None else self.public.getsockname()[1],
            "draining": self._draining is not None,
            "problem": self._plane.prover.problem if self.started else "",
        }

    async def _drain(self, delay: float) -> None:
        self._plane.draining = True
        # uvicorn adds these to every response, and closes the connection after one with `connection: close`.
        self.config.encoded_headers.append((b"connection", b"close"))
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await asyncio.sleep(delay)
        self._stop_accepting()
        if self.public is not None:
            self.public.close()
            self.public = None
        if self._grpc is not None:
            await self._grpc.stop(GRACE)
        deadline = self.loop.time() + MOVE_SECONDS
        while self.server_state.connections and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.should_exit = True

    def _stop_accepting(self) -> None:
        for server in self.servers:
            server.close()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def duplicates(listener: socket.socket) -> list[socket.socket]:
    """ACCEPTS handles on a listening socket: new connections must not wait for an event loop whose turns are long."""
    return [listener, *(listener.dup() for _ in range(ACCEPTS - 1))]
