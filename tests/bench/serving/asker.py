"""Clients that share the machine with the server, so they are made to cost little: 20 us a request.

`Line` is one connection; `OpenLoop` asks as often as it is told, answered or not; `ClosedLoop` as fast as it can.
"""

import asyncio
import time
from collections.abc import Callable

import uvloop

TICK = 0.001  # seconds between two looks at what is due
LATEST = 10.0  # seconds that the last answers are waited for
Done = Callable[["Line", str, float], None]


class Line(asyncio.Protocol):
    """One connection; asks one request at a time, and tells `done` status and milliseconds of each answer."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._began, self._left, self._buffer = 0.0, -1, b""
        self._status = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    @property
    def open(self) -> bool:
        """Whether the server has not closed it, as it does with one that is idle for long."""
        return not self._transport.is_closing()

    def ask(self, content: bytes) -> None:
        """Send a request."""
        self._began = time.perf_counter()
        self._transport.write(content)

    def close(self) -> None:
        """Close, asking nothing."""
        self._began = 0.0
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Read the answer; when it is whole, tell."""
        if not self._began:
            return  # 408 to a connection that was there for nothing
        if self._left < 0:
            self._buffer += data
            head, found, body = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._status = head[9:12].decode()
            lower = head.lower()
            self._left = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
            if self._status == "503" and b"retry-after: " not in lower:
                self._status = "503 without Retry-After"
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._left, self._buffer = -1, b""
            self._tell(self._status)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell of a request that was cut off."""
        if self._began:
            self._tell(type(error).__name__ if error else "closed")

    def _tell(self, status: str) -> None:
        spent, self._began = (time.perf_counter() - self._began) * 1000, 0.0
        self._done(self, status, spent)


async def connect(port: int, done: Done) -> Line:
    """A line to a server on 127.0.0.1."""
    made = await asyncio.get_running_loop().create_connection(lambda: Line(done), "127.0.0.1", port)
    return made[1]


class OpenLoop:
    """Asks at a rate, and notes status and milliseconds of each answer.

    Args:
        port: of the server on 127.0.0.1.
        content: the whole request.

    Attributes:
        seen: status and milliseconds of each request, from when it was sent.
        late: by how many milliseconds the client itself was behind at worst.
        lines: connections it took.
    """

    def __init__(self, port: int, content: bytes) -> None:
        self._port, self._content, self._idle = port, content, list[Line]()
        self.seen: list[tuple[str, float]] = []
        self.outstanding, self.lines, self.late = 0, 0, 0.0

    async def run(self, seconds: float, rate: float, lines: int) -> None:
        """Ask `rate` times a second; `lines` connections are there from the start."""
        self._idle = [await self._line() for _ in range(lines)]
        began, sent = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            due = int(spent * rate) - sent
            self.late = max(self.late, (due - 1) / rate * 1000)
            for _ in range(due):
                line = await self._free()
                self.outstanding += 1
                line.ask(self._content)
            sent += due
            await asyncio.sleep(TICK)
        until = time.perf_counter() + LATEST
        while self.outstanding and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        self.seen += [("no answer", LATEST * 1000)] * self.outstanding

    async def _free(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if line.open:
                return line
        return await self._line()

    async def _line(self) -> Line:
        self.lines += 1
        return await connect(self._port, self._note)

    def _note(self, line: Line, status: str, spent: float) -> None:
        self.seen.append((status, spent))
        self.outstanding -= 1
        if status.startswith(("2", "4", "5")):
            self._idle.append(line)


def open_loop(port: int, content: bytes, seconds: float, rate: float, lines: int = 64) -> OpenLoop:
    """`rate` requests a second for `seconds`, answered or not, over as many connections as that takes."""
    asker = OpenLoop(port, content)
    uvloop.run(asker.run(seconds, rate, lines))
    return asker


class ClosedLoop:
    """Asks over some connections at once, each as soon as it was answered, while it is told to.

    Attributes:
        taken: milliseconds of each answer.
    """

    def __init__(self, name: str, port: int, content: bytes) -> None:
        self.name, self._port, self._content = name, port, content
        self._lines: list[Line] = []
        self._running, self._resting, self._refused = False, 0, ""
        self.taken: list[float] = []

    async def slice(self, seconds: float, connections: int) -> float:
        """Ask for `seconds` over so many connections; the requests answered a second."""
        while len(self._lines) < connections:
            self._lines.append(await connect(self._port, self._note))
        before, began = len(self.taken), time.perf_counter()
        self._running, self._resting = True, 0
        for line in self._lines:
            line.ask(self._content)
        await asyncio.sleep(seconds)
        self._running = False
        while self._resting < len(self._lines):
            await asyncio.sleep(TICK)
        if self._refused:
            raise SystemExit(f"{self.name} answered {self._refused}; expected 200")
        return (len(self.taken) - before) / (time.perf_counter() - began)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    def _note(self, line: Line, status: str, spent: float) -> None:
        if status == "200":
            self.taken.append(spent)
        else:
            self._refused = status
        if self._running and not self._refused:
            line.ask(self._content)
        else:
            self._resting += 1
