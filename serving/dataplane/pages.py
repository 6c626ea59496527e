"""The `GET` pages of an endpoint: contract, health, metrics, OpenAPI, and the dialects' own pages."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tidegate.serving.dataplane.bentoml_app import BentoMLApp
from tidegate.serving.dataplane.openapi import describe
from tidegate.serving.http.asgi import JSON
from tidegate.serving.http.json_body import encode
from tidegate.serving.inference.engine import InferenceEngine
from tidegate.serving.monitoring.metrics import CONTENT_TYPE

PageContent: TypeAlias = tuple[int, bytes, bytes]  # status, media type, body
Page: TypeAlias = Callable[[], Awaitable[PageContent]]


def pages_of(
    engine: InferenceEngine,
    bentoml_app: BentoMLApp,
    is_ready: Callable[[], bool],
    problem: Callable[[], str],
) -> dict[str, Page]:
    """All pages by path.

    Args:
        engine: the loaded release.
        bentoml_app: BentoML's application, for its OpenAPI document.
        is_ready: whether the release takes requests.
        problem: why it must not answer any more, so that the process is to be started again; "" if it may.
    """

    async def ready() -> PageContent:
        if is_ready():
            return 200, JSON, b'{"ready":true}'
        words = problem() or "this release is being replaced; try again"
        return 503, JSON, engine.default_dialect.error("unproved" if problem() else "unavailable", words)

    async def live() -> PageContent:
        if problem():
            return 503, JSON, engine.default_dialect.error("unproved", problem())
        return 200, JSON, b'{"live":true}'

    async def metrics() -> PageContent:
        return 200, CONTENT_TYPE.encode(), engine.metrics.page()

    cached: list[bytes] = []

    async def openapi() -> PageContent:
        if not cached:
            cached.append(encode(describe(await bentoml_app.document(), engine)))
        return 200, JSON, cached[0]

    pages = {
        "/contract": _fixed(engine.contract_json),
        "/livez": live,
        "/readyz": ready,
        "/metrics": metrics,
        "/openapi.json": openapi,
        "/docs.json": openapi,
    }
    for dialect in engine.dialects.values():
        pages |= {path: _dialect_page(make, is_ready) for path, make in dialect.pages.items()}
    return pages


def _fixed(body: bytes) -> Page:
    async def page() -> PageContent:
        return 200, JSON, body

    return page


def _dialect_page(make: Callable[[bool], tuple[int, bytes]], is_ready: Callable[[], bool]) -> Page:
    async def page() -> PageContent:
        status, body = make(is_ready())
        return status, JSON, body

    return page
