"""What counts as pending: complete requests that wait for a prediction, and no others."""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from tidegate.serving.http.access import SETTLING
from tidegate.serving.http.asgi import Message, Receive, Send, respond
from tidegate.serving.server.http_protocol import EndpointProtocol

HEAD = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"
WHOLE = HEAD + b"body"


class Plane:
    """Answers when it is let: each request first waits for a key, then for a prediction."""

    def __init__(self) -> None:
        self.known, self.predicted = asyncio.Event(), asyncio.Event()
        self.began = self.settled = 0

    def fast_path(self, *request: Any) -> None:
        del request

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        del receive
        tell = scope["state"][SETTLING]
        tell(True)
        self.began += 1
        await self.known.wait()
        tell(False)
        self.settled += 1
        await self.predicted.wait()
        await respond(send, 200, b"text/plain", b"done", [])


async def _until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def _counts(sent: list[bytes], *, leave: bool = False) -> tuple[int, int, int]:
    """How many are pending while keys are awaited, when they are known, and at the end."""
    plane, loop = Plane(), asyncio.get_running_loop()
    config = Config(plane, http=EndpointProtocol, lifespan="off", log_config=None)
    config.load()
    config.loaded_app = config.app
    state = ServerState()
    server = await loop.create_server(
        lambda: EndpointProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    writers = []
    for content in sent:
        writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
        writers[-1].write(content)
    await _until(lambda: plane.began == len(sent))
    await asyncio.sleep(0.05)  # also what comes after the head is read
    waiting = EndpointProtocol.pending
    if leave:
        for writer in writers:
            writer.close()
        await _until(lambda: not state.connections)
        waiting = EndpointProtocol.pending
    plane.known.set()
    await _until(lambda: plane.settled == len(sent))
    known = EndpointProtocol.pending
    plane.predicted.set()
    await _until(lambda: not EndpointProtocol.pending)
    for writer in writers:
        writer.close()
    await _until(lambda: not state.connections and not state.tasks)
    server.close()
    return waiting, known, EndpointProtocol.pending


def test_who_waits_for_a_key_makes_nobody_wait() -> None:
    assert asyncio.run(_counts([WHOLE] * 3)) == (0, 3, 0)


def test_half_a_request_takes_nothing_off_the_others() -> None:
    """Who has no login could else send many heads, so that those that do wait would not be seen."""
    assert asyncio.run(_counts([HEAD] * 3)) == (0, 0, 0)
    assert asyncio.run(_counts([HEAD, WHOLE, HEAD + b"bo"])) == (0, 1, 0)


def test_those_behind_it_on_its_connection_wait_for_it() -> None:
    assert asyncio.run(_counts([WHOLE * 2])) == (0, 2, 0)


def test_who_leaves_meanwhile() -> None:
    assert asyncio.run(_counts([WHOLE, HEAD], leave=True)) == (0, 0, 0)
