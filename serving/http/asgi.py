"""Small parts of HTTP over ASGI: read a body within its limits, write an answer, rewrite BentoML's errors."""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from tidegate.serving.errors import RefusedError
from tidegate.serving.http.json_body import error_body

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
Headers: TypeAlias = Mapping[bytes, bytes]
Pairs: TypeAlias = list[tuple[bytes, bytes]]

PROOF = b"tidegate-proof"  # header of our own requests that no client asked, which drift does not count
LINGER = 1.0, 64 << 20  # seconds, bytes
JSON = b"application/json"
WINDOWS = {b"gzip": 31, b"deflate": 47}  # what zlib calls the two; 47 also takes a bare zlib stream
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
    """The client left before its body was complete."""


async def read_body(
    headers: Headers, receive: Receive, limit: int, seconds: float, grow: Callable[[int], None]
) -> bytes:
    """Read a request's body.

    Args:
        headers: of the request; a body announced too large is refused unread.
        receive: of the connection.
        limit: bytes.
        seconds: in which a body that comes in parts must be complete.
        grow: told of each part's bytes, and of minus their sum when the body is not read to its end.

    Raises:
        RefusedError: 413, or 408 for one that came too slowly; what `grow` raises.
        DisconnectedError: the client left.
    """
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > limit:
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        return await _rest(body, receive, limit, seconds, grow)
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    if len(body) > limit:
        raise too_large(limit)
    grow(len(body))
    return body


async def _rest(
    first: bytes, receive: Receive, limit: int, seconds: float, grow: Callable[[int], None]
) -> bytes:
    parts, size, more, whole = [first], len(first), True, False
    grow(size)
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                part: bytes = message.get("body", b"")
                grow(len(part))
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise too_large(limit)
                more = message.get("more_body", False)
        whole = True
    except TimeoutError:
        words = f"{size} bytes came in {seconds:g} s; expected the whole body by then; send it faster"
        raise RefusedError(408, "slow_client", words) from None
    finally:
        if not whole:
            grow(-size)
    return b"".join(parts)


def too_large(limit: int) -> RefusedError:
    """The refusal of a body of more than `limit` bytes."""
    words = f"the body is larger than {limit} bytes; expected at most that; send fewer rows at a time"
    return RefusedError(413, "too_large", words)


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Undo a Content-Encoding, never past `limit` bytes; raises RefusedError (413, 415, 400)."""
    window = WINDOWS.get(encoding.strip().lower())
    if window is None:
        words = f"content-encoding {encoding.decode('latin-1')!r} is unknown; expected gzip, deflate or none"
        raise RefusedError(415, "media_type", words)
    engine = zlib.decompressobj(window)
    try:
        plain = engine.decompress(body, limit + 1)
    except zlib.error as error:
        words = f"the body is not {encoding.decode('latin-1')} ({error}); send it whole, or without encoding"
        raise RefusedError(400, "invalid", words) from error
    if len(plain) > limit:
        raise too_large(limit)
    if not engine.eof:
        raise RefusedError(400, "invalid", "the compressed body ends too early; send it whole")
    return plain


async def respond(
    send: Send, status: int, media: bytes, body: bytes, more: Pairs | None = None, *, head: bool = False
) -> None:
    """Send a whole answer; `more` headers go after content type and length, `head` leaves the body out."""
    headers = [(b"content-type", media), (b"content-length", str(len(body)).encode())]
    if more:
        headers += more
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def respond_unread(receive: Receive, send: Send, status: int, body: bytes, more: Pairs) -> None:
    """Answer before the body is read, take no notice of what still comes for a while, then close.

    Closing at once resets the connection of a client that is still sending, before it reads the answer.
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


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body already read, then whatever comes next."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


class Shaped:
    """A `send` that passes good answers through and rewrites errors in our shape."""

    def __init__(self, send: Send, scope: Message) -> None:
        self._send, self._scope = send, scope
        self._error = b""
        self.status = 500

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status == 500 and self._scope["method"] == "POST":
                self.status = (
                    400  # our service answers every fault itself: this is BentoML failing to read the body
                )
        if self.status < 400:
            return await self._send(message)
        self._error += message.get("body", b"")
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await respond(self._send, self.status, JSON, self._body())
        return None

    def _body(self) -> bytes:
        if self._error.startswith(b'{"error": {"type":'):
            return self._error  # ours, from the service
        text = _words(self._error) or f"status {self.status}"
        if self.status == 400:
            text = "the body cannot be read as its content-type says; correct it, or send JSON"
        kind = KINDS.get(self.status, "invalid" if self.status < 500 else "internal")
        return error_body(kind, f"{self._scope['method']} {self._scope['path']}: {text}")


def _words(body: bytes) -> str:
    """The sentence in an error body of BentoML or Starlette."""
    try:
        content = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()
    if isinstance(content, list) and content:
        content = content[0]
    return str(content.get("error", content)) if isinstance(content, dict) else str(content)
