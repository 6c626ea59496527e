"""BentoML's own application, behind the data plane: imported at the first request that only it can answer.

Its import takes half a second and 40 MB, which an endpoint that only predicts never needs.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

from tidegate.serving.http.asgi import App, Message, Receive, Send

# BentoML's pages; all other paths that are not the data plane's do not exist.
PATHS = ("/", "/schema.json", "/healthz")
PREFIX = "/static_content/"
MEDIA = (b"multipart/", b"application/vnd.bentoml")


class BentoMLApp:
    """BentoML's ASGI application, built and started at its first request.

    Args:
        make: builds the application and a function that returns its OpenAPI document; called once, in a thread.
    """

    def __init__(self, make: Callable[[], tuple[App, Callable[[], dict[str, Any]]]]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._made: tuple[App, Callable[[], dict[str, Any]]] | None = None
        self._lifespan: _Lifespan | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (await self._get())[0](scope, receive, send)

    async def document(self) -> dict[str, Any]:
        """BentoML's OpenAPI document of the service."""
        return (await self._get())[1]()

    async def stop(self) -> None:
        """Shut the application down, if it was started."""
        if self._lifespan is not None:
            await self._lifespan.stop()

    async def _get(self) -> tuple[App, Callable[[], dict[str, Any]]]:
        async with self._lock:
            if self._made is None:
                made = await asyncio.to_thread(self._make)
                self._lifespan = _Lifespan(made[0])
                await self._lifespan.start()
                gc.collect()
                gc.freeze()  # as in `DataPlane.start`: what is loaded stays
                self._made = made
        return self._made


class _Lifespan:
    """Runs the lifespan of an ASGI application, as a server would."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.create_task(self._run(scope))
        await self._send("lifespan.startup")

    async def stop(self) -> None:
        await self._send("lifespan.shutdown")
        await self._task

    async def _run(self, scope: Message) -> None:
        await self._app(scope, self._to_app.get, self._from_app.put)

    async def _send(self, kind: str) -> None:
        await self._to_app.put({"type": kind})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await self._task  # it ended without a reply: raise what it raised
        elif answer.result()["type"].endswith("failed"):
            raise RuntimeError(f"BentoML's application did not start: {answer.result().get('message')}")
