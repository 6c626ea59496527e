"""A client that asks a server open loop: as often as it is told, answered or not, over connections that it keeps.

It shares the machine with the server, so it is made to cost little: 20 us a request.
"""

import asyncio
import time

import uvloop

TICK = 0.001  # seconds between two looks at what is due
LATEST = 10.0  # seconds that the last answers are waited for


class Line(asyncio.Protocol):
    """One connection; asks one request at a time."""

    def __init__(self, asker: "Asker") -> None:
        self._asker = asker
        self._began, self._left, self._buffer = 0.0, -1, b""
        self._status = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def ask(self, content: bytes) -> None:
        """Send a request."""
        self._began = time.perf_counter()
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        """Read the answer; when it is whole, note it."""
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
            self._note(self._status)
            self._left, self._buffer = -1, b""
            self._asker.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Note a request that was cut off."""
        if self._began:
            self._note(type(error).__name__ if error else "closed")
        elif self in self._asker.idle:
            self._asker.idle.remove(self)

    def _note(self, status: str) -> None:
        now = time.perf_counter()
        self._asker.seen.append((status, (now - self._began) * 1000))
        self._asker.outstanding -= 1
        self._began = 0.0


class Asker:
    """Asks, and notes status and milliseconds of each answer.

    Args:
        port: of the server on 127.0.0.1.
        body: of each request.
        path: that is asked.
    """

    def __init__(self, port: int, body: bytes, path: str = "/predict") -> None:
        self._port = port
        self._content = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (
            path.encode(),
            len(body),
        )
        self._content += body
        self.idle: list[Line] = []
        self.seen: list[tuple[str, float]] = []
        self.outstanding, self.lines, self.late = 0, 0, 0.0

    async def run(self, seconds: float, rate: float) -> None:
        """Ask `rate` times a second for `seconds`; `late` is by how many ms the client itself was behind at worst."""
        began, sent = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            due = int(spent * rate) - sent
            self.late = max(self.late, (due - 1) / rate * 1000)
            for _ in range(due):
                await self._send()
            sent += due
            await asyncio.sleep(TICK)
        until = time.perf_counter() + LATEST
        while self.outstanding and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        self.seen += [("no answer", LATEST * 1000)] * self.outstanding

    async def connect(self, lines: int) -> None:
        """Open connections."""
        for _ in range(lines):
            self.idle.append(await self._line())

    async def _send(self) -> None:
        line = self.idle.pop() if self.idle else await self._line()
        self.outstanding += 1
        line.ask(self._content)

    async def _line(self) -> Line:
        self.lines += 1
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: Line(self), "127.0.0.1", self._port))[1]


def open_loop(port: int, body: bytes, seconds: float, rate: float, lines: int = 64) -> Asker:
    """`rate` requests a second for `seconds`, answered or not, over as many connections as that takes."""

    async def run() -> Asker:
        asker = Asker(port, body)
        await asker.connect(lines)
        await asker.run(seconds, rate)
        return asker

    return uvloop.run(run())
