"""uvicorn's HTTP protocol, with a deadline for requests that arrive too slowly, and a fast path for small ones.

uvicorn itself waits for ever for the rest of a request. Here a task checks all connections from time to time, so that
a request that arrives in time costs two assignments. uvicorn writes a response's head and body in two system calls,
which take half of the time of a small request; here they are one. ASGI itself (a task, its messages, its scope) takes
a third of the time: a request on the fast path has none of it.
"""

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tidegate.serving.dialects import Dialect
from tidegate.serving.http.access import SETTLING
from tidegate.serving.http.asgi import HeaderList, Headers

if TYPE_CHECKING:
    from tidegate.serving.dataplane.app import DataPlane

CLOSE = (b"connection", b"close")
CONTINUE = b"HTTP/1.1 100 "
CHECK_EVERY = 0.5  # seconds between two checks of all connections


class BufferedTransport:
    """The part of a transport that a response is written to; its head waits for the first part of its body."""

    __slots__ = ("_began", "_head", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head, self._began = transport, b"", False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write, or keep the head until the next write."""
        if self._head:
            self._transport.writelines((self._head, data))
            self._head = b""
        elif self._began or data.startswith(CONTINUE):
            self._transport.write(data)
        else:
            self._head, self._began = data, True

    def flush(self) -> None:
        """Write what is kept."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Write what is kept, and close."""
        self.flush()
        self._transport.close()


class EndpointProtocol(HttpToolsProtocol):
    """A connection that knows how long it has been waiting for the rest of a request.

    Attributes:
        waiting_since: when the incomplete request began, or when a new connection was made, by the event loop's clock;
            None when there is nothing to wait for.
        prefix: such as `/digits`, which is taken away from the paths that begin with it.
        pending: complete requests without a response, of all connections, but for those where the first one waits for
            the key of its token.
    """

    prefix: ClassVar[bytes] = b""
    pending: ClassVar[int] = 0
    waiting_since: float | None = None
    _pending = 0  # of this connection, all of them
    _settling = False  # whether the first of them waits for the key of its token
    _dialect: Dialect | None = None  # of a request on the fast path

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.waiting_since = self.loop.time()

    def on_message_begin(self) -> None:
        """Start to wait for the rest of a request."""
        self.waiting_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Choose the fast path if this connection is idle, and the request is small and plain."""
        self._dialect = None
        if self.prefix and self.url.startswith(self.prefix):
            self._take_prefix()
        if self._is_idle and not self.flow.write_paused:
            self._fields = dict(self.headers)
            plane = cast("DataPlane", self.config.app)
            self._dialect = plane.fast_path(self.parser.get_method(), self.url, self._fields)
            self._body = b""
        if self._dialect is None:
            self._begin_asgi()

    def _take_prefix(self) -> None:
        rest = self.url[len(self.prefix) :]
        if not rest or rest[:1] in b"/?":
            self.url = rest if rest.startswith(b"/") else b"/" + rest

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._dialect is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer the request, which is complete.

        The fast path starts after all connections were read: how many requests wait decides whether it is admitted.
        """
        self.waiting_since = None
        if self._dialect is not None and cast("DataPlane", self.config.app).must_wait(
            self._dialect, self._fields, self._body
        ):
            self._dialect = None
            self._begin_asgi()
            super().on_body(self._body)
        if self._dialect is not None:
            keep = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
            self.loop.call_soon(self._answer, self._dialect, self._fields, self._body, keep)
            self._dialect = None
        elif self.cycle.response_complete:
            return
        else:
            super().on_message_complete()
        self._pending += 1
        if not self._settling:
            EndpointProtocol.pending += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: its requests are not pending any more."""
        if not self._settling:
            EndpointProtocol.pending -= self._pending
        self._pending, self._settling = 0, False
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close, unless a request is pending: its response closes the connection."""
        if not self._is_idle or (self._dialect is None and not self._pending):
            super().shutdown()

    @property
    def _is_idle(self) -> bool:
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _answer(self, dialect: Dialect, headers: Headers, body: bytes, keep: bool) -> None:
        if self.transport.is_closing():
            return
        plane = cast("DataPlane", self.config.app)
        try:
            plane.answer(dialect, headers, body, partial(self._write, keep))
        finally:
            self._answered()
        self.server_state.total_requests += 1
        if self._is_idle and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _write(self, keep: bool, status: int, media: bytes, body: bytes, pairs: HeaderList) -> None:
        headers = [*self.server_state.default_headers, *pairs]
        if CLOSE in headers:
            keep = False
        elif not keep:
            headers.append(CLOSE)
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n"
        self.transport.write(head % (STATUS_LINE[status], media, len(body), lines) + body)
        if not keep:
            self.transport.close()

    def _answered(self) -> None:
        if self._pending:  # 0 when the response was sent before the request was complete
            self._pending -= 1
            EndpointProtocol.pending -= 1

    def _begin_asgi(self) -> None:
        self.scope["state"][SETTLING] = self._settle
        super().on_headers_complete()

    def _settle(self, waits: bool) -> None:
        """What `Access.settle` tells of the request that ASGI answers; those behind it on this connection wait too."""
        if waits != self._settling:
            EndpointProtocol.pending += -self._pending if waits else self._pending
        self._settling = waits

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._buffered = BufferedTransport(
            self.transport
        )  # one is enough: pipelined requests are answered in turn
        cycle.transport = cast("asyncio.Transport", self._buffered)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Write the head of a response without a body."""
        self._buffered.flush()
        self._answered()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP with a JSON error, like any other."""
        self.refuse(400, b"Bad Request", "invalid", f"{msg} Expected HTTP/1.1; correct the client")

    def refuse(self, status: int, phrase: bytes, kind: str, message: str) -> None:
        """Send an error without calling the application, and close."""
        body = json.dumps({"error": {"type": kind}, "message": message}).encode()
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, phrase, len(body)) + body)
        self.transport.close()

    def too_slow(self, seconds: float) -> None:
        """Give up waiting for the rest of a request."""
        self.waiting_since = None
        if self.transport.is_closing():
            return
        answering = (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        )
        if answering:
            self.transport.abort()
            return
        self.refuse(
            408,
            b"Request Timeout",
            "slow_client",
            f"the request was not complete within {seconds:g} s; send it faster",
        )


async def close_slow_connections(state: ServerState, seconds: float, every: float = CHECK_EVERY) -> None:
    """Run for ever: close the connections whose request is not complete within `seconds`."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        oldest = loop.time() - seconds
        connections: set[Any] = state.connections
        for connection in list(connections):
            waiting_since = connection.waiting_since
            if waiting_since is not None and waiting_since < oldest:
                connection.too_slow(seconds)
