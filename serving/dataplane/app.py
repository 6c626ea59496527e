"""The endpoint's fast side: an ASGI application in front of BentoML's own.

It answers the three dialects and all machine pages itself and passes the rest on (Swagger's page, BentoML's
other media types). Every request has an id and limits; every error has its dialect's shape.
"""

import gc
import time
from collections.abc import Callable

from tidegate.serving.dataplane.bentoml_app import MEDIA, PATHS, PREFIX, Behind
from tidegate.serving.dataplane.dispatcher import Desk
from tidegate.serving.dataplane.pages import Page, pages_of
from tidegate.serving.dialects import Dialect
from tidegate.serving.errors import RefusedError
from tidegate.serving.http.asgi import (
    JSON,
    KINDS,
    PROOF,
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
from tidegate.serving.http.settings import Settings
from tidegate.serving.inference.engine import Answerer

Write = Callable[[int, bytes, bytes, Pairs], None]

# Headers of requests that take more than to read the body and to answer.
SPECIAL = frozenset({b"expect", b"upgrade", b"content-encoding", b"transfer-encoding"})
NO_KEY = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


class DataPlane:
    """The ASGI application of an endpoint.

    Args:
        behind: BentoML's application.
        load: gives the loaded release; called at startup.
        settings: limits, keys, CORS, logs.

    Attributes:
        draining: whether the release is on its way out, and not ready any more.
        backlog: how many requests have come whole and are not answered; whoever runs the server may know it better.
    """

    desk: Desk

    def __init__(
        self, behind: Behind, load: Callable[[], Answerer], settings: Settings | None = None
    ) -> None:
        self._behind, self._load, self._settings = behind, load, settings or Settings()
        self._pages: dict[str, Page] = {}
        self._asks: dict[str, Dialect] = {}
        self._quick: dict[bytes, Dialect] = {}
        self.draining = False
        self.backlog: Callable[[], int] = lambda: 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def start(self) -> None:
        """Load the release and what hangs on it; raises what `load` raises."""
        answerer = self._load()
        self.desk = Desk(answerer, self._settings, self._is_ready)
        self._pages = pages_of(answerer, self._behind, self._is_ready)
        for dialect in answerer.dialects.values():
            self._asks |= dict.fromkeys(dialect.asks, dialect)
        self._quick = {path.encode(): dialect for path, dialect in self._asks.items()}
        # What is loaded stays: full garbage collections need not walk it and stall requests.
        gc.collect()
        gc.freeze()

    def at_once(self, method: bytes, url: bytes, headers: Headers) -> Dialect | None:
        """Whether a request is plain, small and quick, so that `answer` may answer it: its dialect, else None."""
        dialect = self._quick.get(url)
        if dialect is None or method != b"POST" or not SPECIAL.isdisjoint(headers):
            return None
        size = headers.get(b"content-length")
        if size is None or not self.desk.answerer.is_quick(int(size)):
            return None
        return None if url == b"/predict" and _is_behind(headers) else dialect

    def takes_long(self, dialect: Dialect, body: bytes) -> bool:
        """Whether a request for which `at_once` gave a dialect must not be answered at once, as its body shows."""
        return self.desk.answerer.may_explain(dialect, body)

    def answer(self, dialect: Dialect, headers: Headers, body: bytes, write: Write) -> None:
        """Answer a request for which `at_once` gave a dialect, without ASGI.

        Args:
            dialect: it is in.
            headers: of the request.
            body: the whole of it.
            write: takes the answer's status, media type, body and other headers.
        """
        began = time.perf_counter()
        desk, settings = self.desk, self._settings
        pairs = desk.journal.headers(headers)
        try:
            if settings.cors is not None:
                pairs += settings.cors.headers(headers)
            if settings.keys is not None:
                settings.keys.check(headers)
            desk.admission.check(self.backlog(), len(body))
        except RefusedError as error:
            desk.refused(dialect.label, error, pairs)
            write(error.status, JSON, dialect.error(error.kind, str(error)), [*pairs, *error.headers])
            return
        answer = desk.answerer.answer(dialect, body, headers)
        write(answer.status, answer.media, answer.body, pairs + answer.headers if answer.headers else pairs)
        desk.finished(dialect, answer, pairs, began, proof=PROOF in headers)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._behind.stop()
        self.desk.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _is_ready(self) -> bool:
        return not self.draining

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        pairs = self.desk.journal.headers(headers)
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
            elif path == "/predict" and _is_behind(headers):
                await self._pass_on(scope, headers, receive, send)
            else:
                await self._ask(dialect, headers, pairs, receive, send)
        except RefusedError as error:
            self.desk.refused(self._label(path), error, pairs)
            body = (dialect or self._dialect_of(path)).error(error.kind, str(error))
            await _refuse(error, body, headers, [*pairs, *error.headers], receive, send)
        except DisconnectedError:
            self.desk.answerer.metrics.count(self._label(path), 499)

    async def _ask(
        self, dialect: Dialect, headers: Headers, pairs: Pairs, receive: Receive, send: Send
    ) -> None:
        began = time.perf_counter()
        desk, admission, size = self.desk, self.desk.admission, 0
        admission.enter(self.backlog(), int(headers.get(b"content-length", 0)))
        try:
            body = await self._read(headers, receive)
            size = len(body)
            if b"content-encoding" in headers:
                body = inflate(body, headers[b"content-encoding"], self._settings.limits.body)
            answer = await desk.answer(dialect, body, headers)
        finally:
            admission.leave(size)
        more = pairs + answer.headers if answer.headers else pairs
        await respond(send, answer.status, answer.media, answer.body, more)
        desk.finished(dialect, answer, pairs, began, proof=PROOF in headers)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        limits, admission = self._settings.limits, self.desk.admission
        admission.reading += 1
        try:
            return await read_body(headers, receive, limits.body, limits.receive, admission.grow)
        finally:
            admission.reading -= 1

    async def _page(
        self, scope: Message, headers: Headers, pairs: Pairs, receive: Receive, send: Send
    ) -> None:
        path, method = scope["path"], scope["method"]
        page = self._pages.get(path)
        if page is None and (path in PATHS or path.startswith(PREFIX)):
            return await self._pass_on(scope, headers, receive, send)
        if page is None:
            raise RefusedError(404, KINDS[404], f"{method} {path}: there is no such page; see /openapi.json")
        if method not in ("GET", "HEAD"):
            raise _wrong_method(scope, "GET")
        status, media, body = await page()
        self.desk.answerer.metrics.count(self._label(path), status)
        return await respond(send, status, media, body, pairs, head=method == "HEAD")

    async def _pass_on(self, scope: Message, headers: Headers, receive: Receive, send: Send) -> None:
        """Let BentoML answer: its body bounded like ours, its errors in our shape."""
        admission, size = self.desk.admission, 0
        admission.enter(self.backlog(), int(headers.get(b"content-length", 0)))
        try:
            body = await self._read(headers, receive)
            size = len(body)
            shaped = Shaped(send, scope)
            await self._behind(scope, replay(body, receive), shaped)
        finally:
            admission.leave(size)
        self.desk.answerer.metrics.count(self._label(scope["path"]), shaped.status)

    def _dialect_of(self, path: str) -> Dialect:
        answerer = self.desk.answerer
        dialects = answerer.dialects.values()
        return next((dialect for dialect in dialects if path.startswith(dialect.prefix)), answerer.rows)

    def _label(self, path: str) -> str:
        """Paths that a client makes up must not become labels."""
        dialect = self._asks.get(path)
        if dialect is not None:
            return dialect.label
        return path if path in self._pages or path in PATHS else "other"


def _is_behind(headers: Headers) -> bool:
    return headers.get(b"content-type", b"").startswith(MEDIA)


async def _refuse(
    error: RefusedError, body: bytes, headers: Headers, pairs: Pairs, receive: Receive, send: Send
) -> None:
    unread = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    if unread and error.status in (401, 408, 413):
        return await respond_unread(receive, send, error.status, body, pairs)
    return await respond(send, error.status, JSON, body, pairs)


def _wrong_method(scope: Message, allowed: str) -> RefusedError:
    words = f"{scope['path']} was asked with {scope['method']}; expected {allowed}"
    return RefusedError(405, KINDS[405], words, ((b"allow", allowed.encode()),))
