"""The endpoint's fast side: an ASGI application in front of BentoML's own.

It answers `POST /predict` in JSON, `/contract`, `/livez`, `/readyz`, `/metrics` and `/openapi.json` itself and
passes all else on (Swagger's page, BentoML's other media types). Every body is bounded, and every error has
one shape.
"""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeAlias

from serving.answerer import Answerer
from serving.metrics import CONTENT_TYPE
from serving.openapi import describe
from serving.runtimes import available_cpus
from serving.wire import encode, error_body

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_BODY = 64 << 20
LINGER = 1.0  # seconds
JSON = b"application/json"
BENTOML_MEDIA = (b"multipart/", b"application/vnd.bentoml")
KINDS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type", 503: "unavailable"}


class TooLargeError(Exception):
    """A body is larger than the limit."""


class DisconnectedError(Exception):
    """The client left before its body was complete."""


class DataPlane:
    """The ASGI application of an endpoint.

    Args:
        app: BentoML's application for the service.
        spec: gives BentoML's OpenAPI document of it.
        load: gives the loaded release; called at startup.
        max_body: the largest body read, in bytes.
    """

    def __init__(
        self,
        app: App,
        spec: Callable[[], dict[str, Any]],
        load: Callable[[], Answerer],
        max_body: int = MAX_BODY,
    ) -> None:
        self._app, self._spec, self._load, self._max_body = app, spec, load, max_body
        self._answerer: Answerer | None = None
        self._threads = ThreadPoolExecutor(available_cpus(), "predict")
        self._routes: dict[str, tuple[str, Callable[[Answerer], tuple[int, bytes, bytes]]]] = {
            "/contract": ("GET", lambda answerer: (200, JSON, answerer.contract)),
            "/livez": ("GET", lambda _: (200, JSON, b'{"live":true}')),
            "/readyz": ("GET", self._readiness),
            "/metrics": ("GET", lambda answerer: (200, CONTENT_TYPE.encode(), answerer.metrics.page())),
            "/openapi.json": ("GET", self._openapi),
            "/docs.json": ("GET", self._openapi),
        }
        self.draining = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] != "http" or self._answerer is None:
            await self._app(scope, receive, send)
        else:
            await self._http(self._answerer, scope, receive, send)

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        async def started(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._answerer = self._load()
                self._answerer.metrics.ready(True)
                # What is loaded stays: full garbage collections need not walk it and stall requests.
                gc.collect()
                gc.freeze()
            await send(message)

        await self._app(scope, receive, started)
        self._threads.shutdown(wait=False)

    async def _http(self, answerer: Answerer, scope: Message, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        try:
            if path == "/predict" and method == "POST" and not _is_bentomls(scope):
                return await self._predict(answerer, scope, receive, send)
            if path in self._routes or (path == "/predict" and method != "POST"):
                return await self._simple(answerer, path, method, send)
            await self._pass_on(answerer, scope, receive, send)
        except TooLargeError:
            message = (
                f"the body is larger than {self._max_body} bytes; expected at most that; "
                "send fewer rows at a time"
            )
            answerer.metrics.count(_label(path), 413)
            await _refuse(receive, send, error_body(KINDS[413], message))
        except DisconnectedError:
            answerer.metrics.count(_label(path), 499)

    async def _predict(self, answerer: Answerer, scope: Message, receive: Receive, send: Send) -> None:
        body = await self._body(scope, receive)
        started = time.perf_counter()
        if answerer.is_quick(len(body)):
            answer = answerer.answer(body)
        else:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, answerer.answer, body)
        await _send(send, answer.status, JSON, answer.body)
        answerer.metrics.count("/predict", answer.status)
        if answer.status == 200:
            answerer.metrics.predicted(answer.rows, time.perf_counter() - started)

    async def _simple(self, answerer: Answerer, path: str, method: str, send: Send) -> None:
        allowed, route = self._routes.get(path, ("POST", None))
        if route is not None and method in (allowed, "HEAD"):
            status, media, body = route(answerer)
            answerer.metrics.count(path, status)
            return await _send(send, status, media, body, head=method == "HEAD")
        answerer.metrics.count(path, 405)
        message = f"{path} was asked with {method}; expected {allowed}; change the method"
        allow = (b"allow", allowed.encode())
        return await _send(send, 405, JSON, error_body(KINDS[405], message), allow)

    def _readiness(self, _: Answerer) -> tuple[int, bytes, bytes]:
        if self.draining:
            return 503, JSON, error_body(KINDS[503], "this release is being replaced; ask again")
        return 200, JSON, b'{"ready":true}'

    def _openapi(self, answerer: Answerer) -> tuple[int, bytes, bytes]:
        return 200, JSON, encode(describe(self._spec(), answerer))

    async def _pass_on(self, answerer: Answerer, scope: Message, receive: Receive, send: Send) -> None:
        """Let BentoML answer: its body bounded like ours, its errors in our shape."""
        body = await self._body(scope, receive)
        shaped = _Shaped(send, scope)
        await self._app(scope, _replay(body, receive), shaped)
        answerer.metrics.count(_label(scope["path"]), shaped.status)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._max_body:
                raise TooLargeError
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest(body, receive)
        elif message["type"] == "http.disconnect":
            raise DisconnectedError
        if len(body) > self._max_body:
            raise TooLargeError
        return body

    async def _rest(self, first: bytes, receive: Receive) -> bytes:
        parts, size, more = [first], len(first), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                raise TooLargeError
            more = message.get("more_body", False)
        return b"".join(parts)


class _Shaped:
    """A `send` that passes good answers through and rewrites errors."""

    def __init__(self, send: Send, scope: Message) -> None:
        self._send, self._scope = send, scope
        self._error = b""
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if self.status < 400:
            return await self._send(message)
        self._error += message.get("body", b"")
        if message["type"] == "http.response.body" and not message.get("more_body"):
            text = _words(self._error) or f"status {self.status}"
            where = f"{self._scope['method']} {self._scope['path']}"
            kind = KINDS.get(self.status, "invalid" if self.status < 500 else "internal")
            known = b'{"error": {"type":'
            body = self._error if self._error.startswith(known) else error_body(kind, f"{where}: {text}")
            await _send(self._send, self.status, JSON, body)
        return None


async def _send(
    send: Send,
    status: int,
    media: bytes,
    body: bytes,
    *headers: tuple[bytes, bytes],
    head: bool = False,
) -> None:
    length = (b"content-length", str(len(body)).encode())
    start = [(b"content-type", media), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _refuse(receive: Receive, send: Send, body: bytes) -> None:
    """Answer 413, then take no notice of what still comes for a while.

    Closing at once resets the connection of a client that is still sending, before it reads the answer.
    """
    length = (b"content-length", str(len(body)).encode())
    start = [(b"content-type", JSON), length, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body already read, then whatever comes next."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _is_bentomls(scope: Message) -> bool:
    """Whether the body is in a media type that only BentoML reads; all else is taken for JSON."""
    return any(
        name == b"content-type" and value.startswith(BENTOML_MEDIA) for name, value in scope["headers"]
    )


def _label(path: str) -> str:
    """Paths that a client makes up must not become labels."""
    return path if path in ("/predict", "/", "/docs.json", "/schema.json") else "other"


def _words(body: bytes) -> str:
    """The sentence in an error body of BentoML or Starlette."""
    try:
        content = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()
    if isinstance(content, list) and content:
        content = content[0]
    return str(content.get("error", content)) if isinstance(content, dict) else str(content)
