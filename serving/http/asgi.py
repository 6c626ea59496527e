"""HTTP over ASGI in small parts: read a body within its limits, send a response, rewrite BentoML's errors."""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from tidegate.serving.errors import RejectedError
from tidegate.serving.http.json_body import error_body

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
Headers: TypeAlias = Mapping[bytes, bytes]
HeaderList: TypeAlias = list[tuple[bytes, bytes]]

PROOF = b"tidegate-proof"  # header of our own requests that check a release: drift does not count them
LINGER = (
    1.0,
    64 << 20,
)  # seconds and bytes of an unread body that are read and dropped before the connection closes
JSON = b"application/json"
UNREAD = (401, 403, 408, 413, 429)  # statuses for which a body may not have been read
WINDOWS = {b"gzip": 31, b"deflate": 47}  # zlib's `wbits`; 47 also accepts a zlib stream
KINDS = {
    400: "invalid",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "media_type",
    503: "unavailable",
}


class DisconnectedError(Exception):
    """The client disconnected before its body was complete."""


async def read_body(
    headers: Headers, receive: Receive, limit: int, seconds: float, add_bytes: Callable[[int], None]
) -> bytes:
    """Read a request's body.

    Args:
        headers: of the request; a body whose announced size is too large is rejected unread.
        receive: of the connection.
        limit: bytes.
        seconds: within which a body that arrives in parts must be complete.
        add_bytes: called with the bytes of each part, and with minus their sum when the body is not read to its end.

    Raises:
        RejectedError: 413, or 408 for a body that arrived too slowly; what `add_bytes` raises.
        DisconnectedError: the client disconnected.
    """
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > limit:
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        return await _rest(body, receive, limit, seconds, add_bytes)
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    if len(body) > limit:
        raise too_large(limit)
    add_bytes(len(body))
    return body


async def _rest(
    first: bytes, receive: Receive, limit: int, seconds: float, add_bytes: Callable[[int], None]
) -> bytes:
    parts, size, more, complete = [first], len(first), True, False
    add_bytes(size)
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                part: bytes = message.get("body", b"")
                add_bytes(len(part))
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise too_large(limit)
                more = message.get("more_body", False)
        complete = True
    except TimeoutError:
        words = f"{size} bytes came in {seconds:g} s; expected the whole body by then; send it faster"
        raise RejectedError(408, "slow_client", words) from None
    finally:
        if not complete:
            add_bytes(-size)
    return b"".join(parts)


def too_large(limit: int) -> RejectedError:
    """The error for a body of more than `limit` bytes."""
    words = f"the body is larger than {limit} bytes; expected at most that; send fewer rows at a time"
    return RejectedError(413, "too_large", words)


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Undo a Content-Encoding, up to `limit` bytes; raises RejectedError (413, 415, 400)."""
    window = WINDOWS.get(encoding.strip().lower())
    if window is None:
        words = f"content-encoding {encoding.decode('latin-1')!r} is unknown; expected gzip, deflate or none"
        raise RejectedError(415, "media_type", words)
    engine = zlib.decompressobj(window)
    try:
        plain = engine.decompress(body, limit + 1)
    except zlib.error as error:
        words = f"the body is not {encoding.decode('latin-1')} ({error}); send it whole, or without encoding"
        raise RejectedError(400, "invalid", words) from error
    if len(plain) > limit:
        raise too_large(limit)
    if not engine.eof:
        raise RejectedError(400, "invalid", "the compressed body ends too early; send it whole")
    return plain


async def respond(
    send: Send, status: int, media: bytes, body: bytes, more: HeaderList | None = None, *, head: bool = False
) -> None:
    """Send a response; `more` headers follow content type and length, `head` leaves the body out."""
    headers = [(b"content-type", media), (b"content-length", str(len(body)).encode())]
    if more:
        headers += more
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def respond_unread(receive: Receive, send: Send, status: int, body: bytes, more: HeaderList) -> None:
    """Respond before the body is read, drop what still arrives for a while, then close.

    Closing at once would reset the connection of a client that is still sending, before it reads the response.
    """
    length = (b"content-length", str(len(body)).encode())
    start = [(b"content-type", JSON), length, *more, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    seconds, left = LINGER
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
    await send({"type": "http.response.body", "body": b""})


async def respond_rejected(
    error: RejectedError, body: bytes, headers: Headers, pairs: HeaderList, receive: Receive, send: Send
) -> None:
    """Respond to a rejected request; its body was not read where the status says so."""
    unread = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    if unread and error.status in UNREAD:
        return await respond_unread(receive, send, error.status, body, pairs)
    return await respond(send, error.status, JSON, body, pairs)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns a body that was already read, then what follows on the connection."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


class ErrorRewriter:
    """A `send` that passes responses on with more headers, and rewrites BentoML's errors in our format."""

    def __init__(self, send: Send, scope: Message, pairs: HeaderList) -> None:
        self._send, self._scope, self._pairs = send, scope, pairs
        self._error = b""
        self.status = 500

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status == 500 and self._scope["method"] == "POST":
                # Our service answers every error itself: here BentoML could not read the body.
                self.status = 400
            given = [tuple(pair) for pair in message.get("headers", ())]
            names = {name.lower() for name, _ in given}
            more = [pair for pair in self._pairs if pair[0] == b"vary" or pair[0] not in names]
            message = {**message, "headers": [*given, *more]}
        if self.status < 400:
            return await self._send(message)
        self._error += message.get("body", b"")
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await respond(self._send, self.status, JSON, self._body(), self._pairs)
        return None

    def _body(self) -> bytes:
        if self._error.startswith(b'{"error": {"type":'):
            return self._error  # written by our service
        text = _error_text(self._error) or f"status {self.status}"
        if self.status == 400:
            text = "the body cannot be read as its content-type says; correct it, or send JSON"
        kind = KINDS.get(self.status, "invalid" if self.status < 500 else "internal")
        return error_body(kind, f"{self._scope['method']} {self._scope['path']}: {text}")


def _error_text(body: bytes) -> str:
    """The message in an error body of BentoML or Starlette."""
    try:
        content = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()
    if isinstance(content, list) and content:
        content = content[0]
    return str(content.get("error", content)) if isinstance(content, dict) else str(content)
