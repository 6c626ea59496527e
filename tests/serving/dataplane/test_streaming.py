"""Events on their way to a client: in order, no faster than they are read, and no longer than somebody reads them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tidegate.serving.dataplane.streaming import MOST_WAITING, Pieces, TextStream
from tidegate.serving.errors import RejectedError, StoppedWritingError
from tidegate.serving.http.asgi import DisconnectedError
from tidegate.serving.inference.engine import Response

Tell = Callable[[int, str | None], None]
BODY = b'{"model":"m","release":1,"predictions":[{"text":"a b"},{"text":"c"}]}'
DONE = Response(200, BODY, values=np.zeros((2, 2), np.float32))


class Client:
    """What a client got, and when it goes away; it may read slowly."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gone, self.reads = asyncio.Event(), asyncio.Event()
        self.reads.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def events(self) -> list[tuple[str, Any]]:
        whole = b"".join(message.get("body", b"") for message in self.sent).decode()
        found = []
        for event in whole.split("\n\n")[:-1]:
            *name, data = event.split("\n")
            found.append((name[0] if name else "", json.loads(data.removeprefix("data: "))))
        return found


def streamed(client: Client, work: Callable[[Tell], Response], seconds: float = 20.0) -> TextStream:
    """A stream of what `work` writes in a thread."""

    def answer(tell: Tell) -> asyncio.Future[Response]:
        return asyncio.ensure_future(asyncio.to_thread(work, tell))

    return TextStream(answer, client.receive, client.send, [(b"x-request-id", b"7")], seconds)


def test_pieces_come_in_order_and_the_whole_answer_last() -> None:
    def work(tell: Tell) -> Response:
        for row, text in [(0, "a"), (1, "c"), (0, " b"), (1, None)]:
            tell(row, text)
        return DONE

    async def run() -> None:
        client = Client()
        assert await streamed(client, work).respond() == DONE
        start, *_, last = client.sent
        assert start["status"] == 200 and (b"content-type", b"text/event-stream") in start["headers"]
        assert (b"x-request-id", b"7") in start["headers"] and last["more_body"] is False
        assert client.events == [
            ("", {"row": 0, "text": "a"}),
            ("", {"row": 1, "text": "c"}),
            ("", {"row": 0, "text": " b"}),
            ("event: answer", {**json.loads(BODY), "reasons": ["length", "end"]}),
        ]

    asyncio.run(run())


def test_who_writes_waits_for_who_reads() -> None:
    written = 0

    def work(tell: Tell) -> Response:
        nonlocal written
        for _ in range(10 * MOST_WAITING):
            tell(0, "a")
            written += 1
        return DONE

    async def run() -> None:
        client = Client()
        client.reads.clear()
        responding = asyncio.ensure_future(streamed(client, work).respond())
        before = -1
        while written != before or not written:  # until it stands still
            before = written
            await asyncio.sleep(0.2)
        assert written <= 2 * MOST_WAITING + 1 and not responding.done()
        client.reads.set()
        await responding
        assert len(client.events) == 10 * MOST_WAITING + 1

    asyncio.run(run())


def test_the_work_stops_when_the_client_goes() -> None:
    ended = threading.Event()

    def work(tell: Tell) -> Response:
        try:
            while True:
                tell(0, "a")
        except StoppedWritingError:
            ended.set()
            raise

    async def run() -> None:
        client = Client()
        responding = asyncio.ensure_future(streamed(client, work).respond())
        while len(client.events) < 5:
            await asyncio.sleep(0.01)
        client.gone.set()
        with pytest.raises(DisconnectedError):
            await responding
        assert ended.is_set()

    asyncio.run(run())


def test_a_client_that_never_reads_holds_nothing_for_ever() -> None:
    def work(tell: Tell) -> Response:
        while True:
            tell(0, "a")

    async def run() -> None:
        client = Client()
        client.reads.clear()
        with pytest.raises(DisconnectedError):
            await streamed(client, work, seconds=0.3).respond()

    asyncio.run(run())


@pytest.mark.parametrize("begun", [False, True])
def test_an_error_is_a_response_before_the_first_event_and_an_event_after_it(begun: bool) -> None:
    error = Response(500, b'{"error": {"type": "prediction"}}', kind="prediction")

    def work(tell: Tell) -> Response:
        if begun:
            tell(0, "a")
        return error

    async def run() -> None:
        client = Client()
        assert await streamed(client, work).respond() == error
        assert client.sent[0]["status"] == (200 if begun else 500)
        if begun:
            assert client.events[-1] == ("event: error", {"error": {"type": "prediction"}})
        else:
            assert client.sent[1]["body"] == error.body

    asyncio.run(run())


@pytest.mark.parametrize("begun", [False, True])
def test_the_deadline_is_told_in_either_way(begun: bool) -> None:
    def work(tell: Tell) -> Response:
        if begun:
            tell(0, "a")
        raise RejectedError(504, "deadline", "no prediction within 1 s")

    async def run() -> None:
        client = Client()
        responding = streamed(client, work).respond()
        if begun:
            assert (await responding).status == 504
            (_, (name, data)) = client.events
            assert name == "event: error" and data["error"]["type"] == "deadline"
        else:
            with pytest.raises(RejectedError):
                await responding
            assert not client.sent

    asyncio.run(run())


def test_nobody_waits_for_pieces_that_do_not_come() -> None:
    async def run() -> None:
        pieces = Pieces(1.0)
        pieces.finish()
        assert await pieces.take() == [] and await pieces.take() == []

    asyncio.run(run())
