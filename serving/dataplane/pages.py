"""What an endpoint answers to `GET`: contract, health, metrics, OpenAPI, and the dialects' own pages."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tidegate.serving.dataplane.bentoml_app import Behind
from tidegate.serving.dataplane.openapi import describe
from tidegate.serving.http.asgi import JSON
from tidegate.serving.http.json_body import encode
from tidegate.serving.inference.engine import Answerer
from tidegate.serving.monitoring.metrics import CONTENT_TYPE

Answered: TypeAlias = tuple[int, bytes, bytes]  # status, media type, body
Page: TypeAlias = Callable[[], Awaitable[Answered]]


def pages_of(answerer: Answerer, behind: Behind, is_ready: Callable[[], bool]) -> dict[str, Page]:
    """All pages by path.

    Args:
        answerer: the loaded release.
        behind: BentoML's application, for its OpenAPI document.
        is_ready: whether the release takes requests.
    """

    async def ready() -> Answered:
        if is_ready():
            return 200, JSON, b'{"ready":true}'
        return 503, JSON, answerer.rows.error("unavailable", "this release is being replaced; ask again")

    async def metrics() -> Answered:
        return 200, CONTENT_TYPE.encode(), answerer.metrics.page()

    written: list[bytes] = []

    async def openapi() -> Answered:
        if not written:
            written.append(encode(describe(await behind.document(), answerer)))
        return 200, JSON, written[0]

    pages = {
        "/contract": _fixed(answerer.contract),
        "/livez": _fixed(b'{"live":true}'),
        "/readyz": ready,
        "/metrics": metrics,
        "/openapi.json": openapi,
        "/docs.json": openapi,
    }
    for dialect in answerer.dialects.values():
        pages |= {path: _asked(make, is_ready) for path, make in dialect.pages.items()}
    return pages


def _fixed(body: bytes) -> Page:
    async def page() -> Answered:
        return 200, JSON, body

    return page


def _asked(make: Callable[[bool], tuple[int, bytes]], is_ready: Callable[[], bool]) -> Page:
    async def page() -> Answered:
        status, body = make(is_ready())
        return status, JSON, body

    return page
