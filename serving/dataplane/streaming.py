"""Texts as they are written: server-sent events, one for each token, and a last one with the whole answer.

The thread that writes puts pieces into a short queue, and waits while it is full: a client that reads slowly slows down
its own text alone. A client that is gone stops the thread at its next token.

The format is the HTML standard's (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tidegate.serving.dataplane.dispatcher import Dispatcher
from tidegate.serving.dialects import Dialect
from tidegate.serving.errors import RejectedError, StoppedWritingError
from tidegate.serving.http.asgi import DisconnectedError, HeaderList, Headers, Receive, Send, respond
from tidegate.serving.http.json_body import encode, error_body
from tidegate.serving.inference.engine import InferenceEngine, Response
from tidegate.serving.inference.predictor import Tell

MEDIA = b"text/event-stream"
HEADERS: HeaderList = [
    (b"content-type", MEDIA),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
MOST_WAITING = 64  # pieces that wait for the client
SENDING_SECONDS = 5.0  # after the deadline, for the last event


class Piece(NamedTuple):
    """What a token adds to the text of a row; None: its end."""

    row: int
    text: str | None


def wants_stream(headers: Headers) -> bool:
    """Whether a request asks for events."""
    return MEDIA in headers.get(b"accept", b"")


def asks_for_stream(headers: Headers, engine: InferenceEngine) -> bool:
    """Whether a request asks for events; raises RejectedError (406) if the model has none."""
    if not wants_stream(headers):
        return False
    if engine.served.contract.decoding is None:
        words = "accept is text/event-stream, and this model writes no texts; expected application/json; leave it out"
        raise RejectedError(406, "not_acceptable", words)
    return True


async def stream(
    dispatcher: Dispatcher,
    dialect: Dialect,
    body: bytes,
    headers: Headers,
    pairs: HeaderList,
    receive: Receive,
    send: Send,
) -> Response:
    """Answer an admitted request with events; see `TextStream.respond`."""

    def answer(tell: Tell) -> asyncio.Future[Response]:
        return asyncio.ensure_future(dispatcher.write(dialect, body, headers, tell))

    seconds = dispatcher.settings.limits.deadline_seconds + SENDING_SECONDS
    return await TextStream(answer, receive, send, pairs, seconds).respond()


class Pieces:
    """Pieces on their way from the thread that writes to the event loop.

    Args:
        seconds: after which the thread does not wait any longer.
    """

    def __init__(self, seconds: float) -> None:
        self._loop, self._arrived = asyncio.get_running_loop(), asyncio.Event()
        self._waiting: deque[Piece] = deque()
        self._changed = threading.Condition()
        self._until = time.monotonic() + seconds
        self._closed = self._finished = False

    def put(self, row: int, text: str | None) -> None:
        """Add a piece, as soon as there is room; called by the thread.

        Raises:
            StoppedWritingError: nobody reads any more, or not in time.
        """
        with self._changed:
            while len(self._waiting) >= MOST_WAITING and not self._closed:
                if not self._changed.wait(self._until - time.monotonic()):
                    raise StoppedWritingError("the client reads too slowly")
            if self._closed:
                raise StoppedWritingError("the client is gone")
            self._waiting.append(Piece(row, text))
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> list[Piece]:
        """Wait for pieces, and take all that are there; after `finish` without waiting."""
        await self._arrived.wait()
        with self._changed:
            taken = list(self._waiting)
            self._waiting.clear()
            if not self._finished:
                self._arrived.clear()
            self._changed.notify_all()
        return taken

    def finish(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        self._finished = True
        self._arrived.set()

    def close(self) -> None:
        """Nobody reads any more: the thread ends at its next piece."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class TextStream:
    """The response to one request as events.

    Args:
        answer: answers the request in a thread, and is given what to call with each piece.
        receive, send: of the request.
        pairs: more headers.
        seconds: within which everything must be sent.
    """

    def __init__(
        self,
        answer: Callable[[Tell], "asyncio.Future[Response]"],
        receive: Receive,
        send: Send,
        pairs: HeaderList,
        seconds: float,
    ) -> None:
        self._receive, self._send, self._pairs, self._seconds = receive, send, pairs, seconds
        self._pieces = Pieces(seconds)
        self._answered = answer(self._pieces.put)
        self._answered.add_done_callback(lambda _: self._pieces.finish())
        self._ended: set[int] = set()
        self._begun = False

    async def respond(self) -> Response:
        """Send events until the answer is complete; an answer that fails before its first event is a usual response.

        Raises:
            DisconnectedError: the client is gone, or did not read in time.
            RejectedError: before the first event, as for a response in one part.
        """
        gone = asyncio.ensure_future(self._disconnected())
        sending = asyncio.ensure_future(self._send_all())
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise DisconnectedError
            return sending.result()
        except TimeoutError:
            raise DisconnectedError from None
        finally:
            self._pieces.close()
            gone.cancel()
            sending.cancel()
            # The thread ends at its next token; no result is left that nobody looked at.
            await asyncio.gather(gone, sending, self._answered, return_exceptions=True)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _send_all(self) -> Response:
        while not self._answered.done():
            await self._send_pieces(await self._pieces.take())
        await self._send_pieces(await self._pieces.take())
        answer = await self._complete()
        if answer.status != 200 and not self._begun:
            await respond(self._send, answer.status, answer.media, answer.body, self._pairs)
            return answer
        await self._begin()
        await self._send_part(self._last(answer), more=False)
        return answer

    async def _complete(self) -> Response:
        try:
            return await self._answered
        except StoppedWritingError:
            raise DisconnectedError from None
        except RejectedError as error:
            if not self._begun:
                raise
            return Response(error.status, error_body(error.kind, str(error)), kind=error.kind)

    async def _send_pieces(self, pieces: list[Piece]) -> None:
        self._ended |= {piece.row for piece in pieces if piece.text is None}
        body = b"".join(_event({"row": row, "text": text}) for row, text in pieces if text)
        if body:
            await self._begin()
            await self._send_part(body, more=True)

    def _last(self, answer: Response) -> bytes:
        if answer.status != 200 or answer.values is None:
            return b"event: error\ndata: " + answer.body + b"\n\n"
        reasons = ["end" if row in self._ended else "length" for row in range(len(answer.values))]
        return b"event: answer\n" + _event({**json.loads(answer.body), "reasons": reasons})

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            head = {"type": "http.response.start", "status": 200, "headers": [*HEADERS, *self._pairs]}
            await self._send(head)

    async def _send_part(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _event(data: object) -> bytes:
    return b"data: " + encode(data) + b"\n\n"
