"""uvicorn's HTTP protocol, with a deadline for requests that come too slowly, and a short way for small ones.

uvicorn itself waits for ever for the rest of a request. A sweep looks at all connections now and then, so that
a request that comes in time costs two assignments. It writes an answer's head and its body one after the other:
two system calls, which together are half of the time of a small request; here they are one. And what ASGI costs
(a task, its messages, its scope) is a third of it: a request that is answered at once has none of that.
"""

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tidegate.serving.dialects import Dialect
from tidegate.serving.http.asgi import Headers, Pairs

if TYPE_CHECKING:
    from tidegate.serving.dataplane.app import DataPlane

CLOSE = (b"connection", b"close")
CONTINUE = b"HTTP/1.1 100 "
SWEEP = 0.5  # seconds between two looks


class Joined:
    """What of a transport an answer is written to; its head waits for the first part of its body."""

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
        """Write what waits."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Write what waits, and close."""
        self.flush()
        self._transport.close()


class GuardedProtocol(HttpToolsProtocol):
    """A connection that knows since when it has been waiting for the rest of a request.

    Attributes:
        since: the loop's time at which the request began that is not complete; of a new connection, at which it
            was made. None when there is nothing to wait for.
        whole: requests of all connections that have come whole and are not answered.
    """

    whole: ClassVar[int] = 0
    since: float | None = None
    _whole = 0  # of this connection
    _dialect: Dialect | None = None  # of a request that goes the short way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.since = self.loop.time()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest."""
        self.since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the short way where nothing is being answered here, and the request is small and plain."""
        self._dialect = None
        if self._is_idle and not self.flow.write_paused:
            self._fields = dict(self.headers)
            plane = cast("DataPlane", self.config.app)
            self._dialect = plane.at_once(self.parser.get_method(), self.url, self._fields)
            self._body = b""
        if self._dialect is None:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._dialect is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """The request is there.

        The short way begins when all connections were read: how many wait decides whether there is room for it.
        """
        self.since = None
        if self._dialect is not None and cast("DataPlane", self.config.app).takes_long(
            self._dialect, self._body
        ):
            self._dialect = None
            super().on_headers_complete()
            super().on_body(self._body)
        if self._dialect is not None:
            keep = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
            self.loop.call_soon(self._answer, self._dialect, self._fields, self._body, keep)
            self._dialect = None
        elif self.cycle.response_complete:
            return
        else:
            super().on_message_complete()
        self._whole += 1
        GuardedProtocol.whole += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more for what was asked here."""
        GuardedProtocol.whole -= self._whole
        self._whole = 0
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close, unless there is something to answer: that closes."""
        if not self._is_idle or (self._dialect is None and not self._whole):
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

    def _write(self, keep: bool, status: int, media: bytes, body: bytes, pairs: Pairs) -> None:
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
        if self._whole:  # none, when it was answered before it came whole
            self._whole -= 1
            GuardedProtocol.whole -= 1

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._joined = Joined(self.transport)  # the only one: pipelined requests are answered in turn
        cycle.transport = cast("asyncio.Transport", self._joined)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Write what is left of an answer without a body."""
        self._joined.flush()
        self._answered()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in JSON, as all else."""
        self.refuse(400, b"Bad Request", "invalid", f"{msg} Expected HTTP/1.1; correct the client")

    def refuse(self, status: int, phrase: bytes, kind: str, message: str) -> None:
        """Answer without asking the application, and close."""
        body = json.dumps({"error": {"type": kind}, "message": message}).encode()
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, phrase, len(body)) + body)
        self.transport.close()

    def too_slow(self, seconds: float) -> None:
        """Give up waiting."""
        self.since = None
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


async def sweep(state: ServerState, seconds: float, every: float = SWEEP) -> None:
    """Close, for ever, the connections whose request is not complete within `seconds`."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        oldest = loop.time() - seconds
        connections: set[Any] = state.connections
        for connection in list(connections):
            since = connection.since
            if since is not None and since < oldest:
                connection.too_slow(seconds)
