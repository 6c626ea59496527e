"""The endpoint's fast side: an ASGI application in front of BentoML's own.

It answers the three dialects and all machine pages itself and passes the rest on (Swagger's page, BentoML's
other media types). Every request has an id and limits; every error has its dialect's shape.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from serving.answerer import Answer, Answerer
from serving.asgi import (
    JSON,
    KINDS,
    DisconnectedError,
    Headers,
    Message,
    Pairs,
    Receive,
    Send,
    Shaped,
    inflate,
    read_body,
    replay,
    respond,
    respond_unread,
)
from serving.behind import MEDIA, PATHS, PREFIX, Behind
from serving.dialects import Dialect
from serving.errors import RefusedError
from serving.limits import Admission
from serving.metrics import CONTENT_TYPE
from serving.openapi import describe
from serving.runtimes import available_cpus
from serving.settings import Settings
from serving.tap import Tap
from serving.wire import encode

Page: TypeAlias = Callable[[], Awaitable[tuple[int, bytes, bytes]]]
NO_KEY = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


class DataPlane:
    """The ASGI application of an endpoint.

    Args:
        behind: BentoML's application.
        load: gives the loaded release; called at startup.
        settings: limits, keys, CORS, logs.
    """

    def __init__(
        self, behind: Behind, load: Callable[[], Answerer], settings: Settings | None = None
    ) -> None:
        self._behind, self._load, self._settings = behind, load, settings or Settings()
        self._threads = ThreadPoolExecutor(available_cpus(), "predict")
        self._pages: dict[str, Page] = {}
        self._asks: dict[str, Dialect] = {}
        self.draining = False
        self.backlog: Callable[[], int] = lambda: self._admission.in_flight

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def start(self) -> None:
        """Load the release and what hangs on it; raises what `load` raises."""
        settings = self._settings
        self._answerer = answerer = self._load()
        answerer.most_rows = settings.limits.rows
        served = answerer.served
        self._admission = Admission(settings.limits, self._workers(), answerer.seconds)
        self._journal = settings.journal({"endpoint": served.name, "release": served.release})
        self._tap = None if answerer.watcher is None else Tap(answerer.watcher)
        answerer.metrics.gauges = {
            "in_flight": lambda: self._admission.in_flight,
            "queued": lambda: self._admission.queued,
            "body_bytes": lambda: self._admission.held,
            "ready": lambda: float(not self.draining),
            "unwatched_requests": lambda: 0 if self._tap is None else self._tap.lost,
        }
        self._route(answerer)
        # What is loaded stays: full garbage collections need not walk it and stall requests.
        gc.collect()
        gc.freeze()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.start()
        if self._tap is not None:
            self._tap.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._behind.stop()
        self._threads.shutdown(wait=False)
        if self._tap is not None:
            self._tap.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _workers(self) -> int:
        return 1 if self._answerer.is_quick(0) else available_cpus()

    def _route(self, answerer: Answerer) -> None:
        def fixed(body: bytes) -> Page:
            async def page() -> tuple[int, bytes, bytes]:
                return 200, JSON, body

            return page

        def asked(make: Callable[[bool], tuple[int, bytes]]) -> Page:
            async def page() -> tuple[int, bytes, bytes]:
                status, body = make(not self.draining)
                return status, JSON, body

            return page

        self._pages = {
            "/contract": fixed(answerer.contract),
            "/livez": fixed(b'{"live":true}'),
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/openapi.json": self._openapi,
            "/docs.json": self._openapi,
        }
        for dialect in answerer.dialects.values():
            self._asks |= dict.fromkeys(dialect.asks, dialect)
            self._pages |= {path: asked(make) for path, make in dialect.pages.items()}

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        pairs = self._journal.headers(headers)
        dialect = self._asks.get(path)
        try:
            cors = self._settings.cors
            if cors is not None:
                pairs += cors.headers(headers)
                if cors.is_preflight(scope["method"], headers):
                    return await respond(send, 204, JSON, b"", pairs)
            if self._settings.keys is not None and path not in NO_KEY:
                self._settings.keys.check(headers)
            if dialect is None:
                await self._page(scope, headers, pairs, receive, send)
            elif scope["method"] != "POST":
                raise _wrong_method(scope, "POST")
            elif path == "/predict" and headers.get(b"content-type", b"").startswith(MEDIA):
                await self._pass_on(scope, headers, receive, send)
            else:
                await self._ask(dialect, headers, pairs, receive, send)
        except RefusedError as error:
            await self._refuse(error, dialect or self._dialect_of(path), headers, pairs, receive, send)
            self._answerer.metrics.count(self._label(path), error.status)
        except DisconnectedError:
            self._answerer.metrics.count(self._label(path), 499)

    async def _ask(
        self, dialect: Dialect, headers: Headers, pairs: Pairs, receive: Receive, send: Send
    ) -> None:
        began = time.perf_counter()
        admission, metrics = self._admission, self._answerer.metrics
        size = int(headers.get(b"content-length", 0))
        admission.enter(self.backlog(), size)
        try:
            limits = self._settings.limits
            grow = None if b"content-length" in headers else admission.grow
            body = await read_body(headers, receive, limits.body, limits.receive, grow)
            size = len(body)
            if b"content-encoding" in headers:
                body = inflate(body, headers[b"content-encoding"], limits.body)
            if self._answerer.is_quick(len(body)):
                answer = self._answerer.answer(dialect, body, headers)
            else:
                answer = await self._in_thread(dialect, body, headers)
        finally:
            admission.leave(size)
        if answer.headers:
            pairs += answer.headers
        await respond(send, answer.status, answer.media, answer.body, pairs)
        spent = time.perf_counter() - began
        metrics.count(dialect.label, answer.status)
        if answer.values is None or answer.columns is None:
            metrics.failed(answer.kind)
            self._journal.note(pairs, dialect.label, answer.status, spent, kind=answer.kind)
            return
        metrics.predicted(answer.values, answer.seconds, spent)
        admission.took(answer.busy)
        if self._tap is not None:
            self._tap.put(answer.columns, answer.values)
        self._journal.note(pairs, dialect.label, 200, spent, len(answer.values))

    async def _in_thread(self, dialect: Dialect, body: bytes, headers: Headers) -> Answer:
        admission, loop, deadline = (
            self._admission,
            asyncio.get_running_loop(),
            self._settings.limits.deadline,
        )
        running = abandoned = False

        def work() -> Answer:
            loop.call_soon_threadsafe(started)
            try:
                return self._answerer.answer(dialect, body, headers)
            finally:
                loop.call_soon_threadsafe(ended)

        def started() -> None:
            nonlocal running
            running = True
            admission.queued -= 1

        def ended() -> None:
            if abandoned:
                admission.leave(0)

        admission.queued += 1
        task = loop.run_in_executor(self._threads, work)
        try:
            return await asyncio.wait_for(task, deadline)
        except TimeoutError:
            if not running:
                admission.queued -= 1  # it was taken out of the queue before it began
            else:
                abandoned = True
                admission.abandon()
            words = f"no prediction within {deadline:g} s; expected one by then; send fewer rows at a time"
            raise RefusedError(504, "deadline", words) from None

    async def _page(
        self, scope: Message, headers: Headers, pairs: Pairs, receive: Receive, send: Send
    ) -> None:
        path, method = scope["path"], scope["method"]
        page = self._pages.get(path)
        if page is None and (path in PATHS or path.startswith(PREFIX)):
            return await self._pass_on(scope, headers, receive, send)
        if page is None:
            raise RefusedError(404, "not_found", f"{method} {path}: there is no such page; see /openapi.json")
        if method not in ("GET", "HEAD"):
            raise _wrong_method(scope, "GET")
        status, media, body = await page()
        self._answerer.metrics.count(self._label(path), status)
        return await respond(send, status, media, body, pairs, head=method == "HEAD")

    async def _readiness(self) -> tuple[int, bytes, bytes]:
        if not self.draining:
            return 200, JSON, b'{"ready":true}'
        words = "this release is being replaced; ask again"
        return 503, JSON, self._answerer.rows.error("unavailable", words)

    async def _metrics(self) -> tuple[int, bytes, bytes]:
        return 200, CONTENT_TYPE.encode(), self._answerer.metrics.page()

    async def _openapi(self) -> tuple[int, bytes, bytes]:
        return 200, JSON, encode(describe(await self._behind.document(), self._answerer))

    async def _pass_on(self, scope: Message, headers: Headers, receive: Receive, send: Send) -> None:
        """Let BentoML answer: its body bounded like ours, its errors in our shape."""
        limits = self._settings.limits
        size = int(headers.get(b"content-length", 0))
        self._admission.enter(self.backlog(), size)
        try:
            body = await read_body(headers, receive, limits.body, limits.receive)
            shaped = Shaped(send, scope)
            await self._behind(scope, replay(body, receive), shaped)
        finally:
            self._admission.leave(size)
        self._answerer.metrics.count(self._label(scope["path"]), shaped.status)

    async def _refuse(
        self,
        error: RefusedError,
        dialect: Dialect,
        headers: Headers,
        pairs: Pairs,
        receive: Receive,
        send: Send,
    ) -> None:
        body = dialect.error(error.kind, str(error))
        pairs = [*pairs, *error.headers]
        self._answerer.metrics.failed(error.kind)
        self._journal.note(pairs, dialect.label, error.status, 0.0, kind=error.kind)
        unread = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        if unread and error.status in (401, 408, 413):
            return await respond_unread(receive, send, error.status, body, pairs)
        return await respond(send, error.status, JSON, body, pairs)

    def _dialect_of(self, path: str) -> Dialect:
        dialects = self._answerer.dialects.values()
        return next((dialect for dialect in dialects if path.startswith(dialect.prefix)), self._answerer.rows)

    def _label(self, path: str) -> str:
        """Paths that a client makes up must not become labels."""
        dialect = self._asks.get(path)
        if dialect is not None:
            return dialect.label
        return path if path in self._pages or path in PATHS else "other"


def _wrong_method(scope: Message, allowed: str) -> RefusedError:
    words = f"{scope['path']} was asked with {scope['method']}; expected {allowed}"
    return RefusedError(405, KINDS[405], words, ((b"allow", allowed.encode()),))
