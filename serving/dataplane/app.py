"""The data plane of an endpoint: an ASGI application in front of BentoML's own.

It answers the three dialects and the pages for programs itself, and passes the rest on to BentoML (the Swagger page,
BentoML's other media types). Every request has an id and limits; every error has the format of its dialect.
"""

import gc
import time
from collections.abc import Callable

from tidegate.serving.dataplane.bentoml_app import MEDIA, PATHS, PREFIX, BentoMLApp
from tidegate.serving.dataplane.dispatcher import Dispatcher
from tidegate.serving.dataplane.pages import Page, pages_of
from tidegate.serving.dataplane.prover import Prover
from tidegate.serving.dataplane.streaming import asks_for_stream, stream, wants_stream
from tidegate.serving.dialects import Dialect
from tidegate.serving.errors import RejectedError
from tidegate.serving.http.access import SETTLING
from tidegate.serving.http.asgi import (
    JSON,
    KINDS,
    PROOF,
    DisconnectedError,
    ErrorRewriter,
    HeaderList,
    Headers,
    Message,
    Receive,
    Send,
    inflate,
    read_body,
    replay,
    respond,
    respond_rejected,
)
from tidegate.serving.http.caller import Caller
from tidegate.serving.http.settings import ServerSettings
from tidegate.serving.inference.engine import InferenceEngine

Write = Callable[[int, bytes, bytes, HeaderList], None]

# Requests with one of these headers go through ASGI: they need more than a body that is read and answered.
SPECIAL = frozenset({b"expect", b"upgrade", b"content-encoding", b"transfer-encoding"})
NO_KEY = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


class DataPlane:
    """The ASGI application of an endpoint.

    Args:
        bentoml_app: BentoML's application, for what is not answered here.
        load: returns the loaded release; called at startup.
        settings: limits, keys, CORS, logs.

    Attributes:
        draining: whether the release is being replaced, and not ready any more.
        backlog: returns how many complete requests have no response yet, but for those that wait for the key of their
            token; set by the server, which counts them.
        prover: proves the loaded release from time to time.
        unproved: called when a proof failed, after which no request is accepted.
    """

    dispatcher: Dispatcher
    prover: Prover

    def __init__(
        self,
        bentoml_app: BentoMLApp,
        load: Callable[[], InferenceEngine],
        settings: ServerSettings | None = None,
    ) -> None:
        self._bentoml_app, self._load, self._settings = bentoml_app, load, settings or ServerSettings()
        self._pages: dict[str, Page] = {}
        self._dialects: dict[str, Dialect] = {}
        self._fast_paths: dict[bytes, Dialect] = {}
        self.draining = False
        self.backlog: Callable[[], int] = lambda: 0
        self.unproved: Callable[[], object] = lambda: None

    @property
    def settings(self) -> ServerSettings:
        """The settings of its server."""
        return self._settings

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def start(self) -> None:
        """Load the release and build its pages; raises what `load` raises."""
        engine = self._load()
        self.prover = Prover(engine, self._settings.prove_every, self._close)
        self.dispatcher = Dispatcher(engine, self._settings, self.is_ready)
        self._pages = pages_of(engine, self._bentoml_app, self.is_ready, lambda: self.prover.problem)
        for dialect in engine.dialects.values():
            self._dialects |= dict.fromkeys(dialect.predict_paths, dialect)
        self._fast_paths = {path.encode(): dialect for path, dialect in self._dialects.items()}
        # What is loaded stays: full garbage collections need not scan it, which would stall requests.
        gc.collect()
        gc.freeze()

    def fast_path(self, method: bytes, url: bytes, headers: Headers) -> Dialect | None:
        """The dialect of a request that `answer` may answer, because it is plain, small and quick; else None."""
        dialect = self._fast_paths.get(url)
        if dialect is None or method != b"POST" or not SPECIAL.isdisjoint(headers):
            return None
        size = headers.get(b"content-length")
        if size is None or not self.dispatcher.engine.is_quick(int(size), dialect):
            return None
        special = url == b"/predict" and (_is_for_bentoml(headers) or wants_stream(headers))
        return None if special else dialect

    def must_wait(self, dialect: Dialect, headers: Headers, body: bytes) -> bool:
        """Whether a request from `fast_path` must wait after all: for a thread, or for the key of its token."""
        access = self._settings.access
        return self.dispatcher.engine.may_explain(dialect, body) or (
            access is not None and access.awaits_keys(headers)
        )

    def answer(self, dialect: Dialect, headers: Headers, body: bytes, write: Write) -> None:
        """Answer a request for which `fast_path` returned a dialect, without ASGI.

        Args:
            dialect: of the request.
            headers: of the request.
            body: the complete body.
            write: called with the response's status, media type, body and other headers.
        """
        began = time.perf_counter()
        dispatcher, settings = self.dispatcher, self._settings
        pairs, caller = dispatcher.access_log.headers(headers), None
        try:
            if settings.cors is not None:
                pairs += settings.cors.headers(headers)
            if settings.access is not None:
                caller = settings.access.identify(headers)
                pairs += settings.access.admit(caller)
            dispatcher.admission.check(self.backlog(), len(body))
        except RejectedError as error:
            dispatcher.record_rejection(dialect.label, error, pairs, caller)
            write(error.status, JSON, dialect.error(error.kind, str(error)), [*pairs, *error.headers])
            return
        answer = dispatcher.engine.answer(dialect, body, headers)
        write(answer.status, answer.media, answer.body, pairs + answer.headers if answer.headers else pairs)
        dispatcher.record_response(dialect, answer, pairs, began, caller, proof=PROOF in headers)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self.start()
        except Exception as error:  # said to the server, or it would answer every request with 500
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        self.prover.start()
        access = self._settings.access
        if access is not None:
            access.start()
        await receive()
        if access is not None:
            access.stop()
        self.prover.stop()
        await self._bentoml_app.stop()
        self.dispatcher.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def is_ready(self) -> bool:
        """Whether it takes requests: the release is not being replaced, and proved."""
        return not self.draining and not self.prover.problem

    def _close(self, reason: str) -> None:
        """Accept no request any more: a wrong answer is worse than none."""
        self.dispatcher.admission.closed = reason
        self.unproved()

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        pairs, caller = self.dispatcher.access_log.headers(headers), None
        dialect, access = self._dialects.get(path), self._settings.access
        try:
            cors = self._settings.cors
            if cors is not None:
                pairs += cors.headers(headers)
                if cors.is_preflight(scope["method"], headers):
                    return await respond(send, 204, JSON, b"", pairs)
            if access is not None and path not in NO_KEY:
                await access.settle(headers, scope.get("state", {}).get(SETTLING, bool))
                caller = access.identify(headers)
                pairs += access.admit(caller)
            if dialect is None:
                await self._serve_page(scope, headers, pairs, receive, send)
            elif scope["method"] != "POST":
                raise _wrong_method(scope, "POST")
            elif path == "/predict" and _is_for_bentoml(headers):
                await self._pass_on(scope, headers, pairs, receive, send)
            else:
                streams = path == "/predict" and asks_for_stream(headers, self.dispatcher.engine)
                await self._predict(dialect, headers, pairs, caller, receive, send, streams=streams)
        except RejectedError as error:
            self.dispatcher.record_rejection(self._label(path), error, pairs, caller)
            body = (dialect or self._dialect_of(path)).error(error.kind, str(error))
            await respond_rejected(error, body, headers, [*pairs, *error.headers], receive, send)
        except DisconnectedError:
            self.dispatcher.engine.metrics.count(self._label(path), 499)

    async def _predict(
        self,
        dialect: Dialect,
        headers: Headers,
        pairs: HeaderList,
        caller: Caller | None,
        receive: Receive,
        send: Send,
        *,
        streams: bool,
    ) -> None:
        began = time.perf_counter()
        dispatcher, admission, size = self.dispatcher, self.dispatcher.admission, 0
        admission.enter(self.backlog(), int(headers.get(b"content-length", 0)))
        try:
            body = await self._read(headers, receive)
            size = len(body)
            if b"content-encoding" in headers:
                body = inflate(body, headers[b"content-encoding"], self._settings.limits.max_body_bytes)
            if streams:
                answer = await stream(dispatcher, dialect, body, headers, pairs, receive, send)
            else:
                answer = await dispatcher.answer(dialect, body, headers)
        finally:
            admission.leave(size)
        if not streams:
            more = pairs + answer.headers if answer.headers else pairs
            await respond(send, answer.status, answer.media, answer.body, more)
        dispatcher.record_response(dialect, answer, pairs, began, caller, proof=PROOF in headers)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        limits, admission = self._settings.limits, self.dispatcher.admission
        admission.reading += 1
        try:
            return await read_body(
                headers, receive, limits.max_body_bytes, limits.receive_seconds, admission.add_bytes
            )
        finally:
            admission.reading -= 1

    async def _serve_page(
        self, scope: Message, headers: Headers, pairs: HeaderList, receive: Receive, send: Send
    ) -> None:
        path, method = scope["path"], scope["method"]
        page = self._pages.get(path)
        if page is None and (path in PATHS or path.startswith(PREFIX)):
            return await self._pass_on(scope, headers, pairs, receive, send)
        if page is None:
            raise RejectedError(404, KINDS[404], f"{method} {path}: there is no such page; see /openapi.json")
        if method not in ("GET", "HEAD"):
            raise _wrong_method(scope, "GET")
        status, media, body = await page()
        self.dispatcher.engine.metrics.count(self._label(path), status)
        return await respond(send, status, media, body, pairs, head=method == "HEAD")

    async def _pass_on(
        self, scope: Message, headers: Headers, pairs: HeaderList, receive: Receive, send: Send
    ) -> None:
        """Let BentoML answer: with our limits on the body, and its errors in our format."""
        admission, size = self.dispatcher.admission, 0
        admission.enter(self.backlog(), int(headers.get(b"content-length", 0)))
        try:
            body = await self._read(headers, receive)
            size = len(body)
            shaped = ErrorRewriter(send, scope, pairs)
            await self._bentoml_app(scope, replay(body, receive), shaped)
        finally:
            admission.leave(size)
        self.dispatcher.engine.metrics.count(self._label(scope["path"]), shaped.status)

    def _dialect_of(self, path: str) -> Dialect:
        engine = self.dispatcher.engine
        dialects = engine.dialects.values()
        return next(
            (dialect for dialect in dialects if path.startswith(dialect.prefix)), engine.default_dialect
        )

    def _label(self, path: str) -> str:
        """The metrics' label of a path; "other" for an unknown one, as clients could invent any number of them."""
        dialect = self._dialects.get(path)
        if dialect is not None:
            return dialect.label
        return path if path in self._pages or path in PATHS else "other"


def _is_for_bentoml(headers: Headers) -> bool:
    return headers.get(b"content-type", b"").startswith(MEDIA)


def _wrong_method(scope: Message, allowed: str) -> RejectedError:
    words = f"{scope['path']} received {scope['method']}; expected {allowed}"
    return RejectedError(405, KINDS[405], words, ((b"allow", allowed.encode()),))
