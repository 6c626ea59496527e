"""One client that asks all servers in turn, request by request: the fairest comparison on a machine that is not quiet.

Whatever slows the machine down for a moment hits all of them alike.
"""

import random
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from tests.bench.serving.load import Request


@dataclass
class Line:
    """A kept connection to one server, and the whole request as bytes."""

    name: str
    connection: socket.socket
    content: bytes
    seconds: list[float]

    @classmethod
    def of(cls, name: str, request: Request) -> "Line":
        """Connect."""
        parts = urlsplit(request.url)
        connection = socket.create_connection((str(parts.hostname), parts.port or 80))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            f"POST {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Content-Length: {len(request.body)}",
        ]
        lines += [f"{key}: {value}" for key, value in request.headers]
        return cls(name, connection, "\r\n".join([*lines, "", ""]).encode() + request.body, [])

    def ask(self) -> None:
        """Ask once; the seconds from the first byte sent to the last one received."""
        began = time.perf_counter()
        self.connection.sendall(self.content)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        received = len(body)
        while received < length:
            received += len(self._more())
        self.seconds.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{self.name} answered {head[:100]!r}")

    def _more(self) -> bytes:
        part = self.connection.recv(1 << 20)
        if not part:
            raise SystemExit(f"{self.name} closed the connection")
        return part


def interleave(requests: dict[str, Request], count: int) -> dict[str, list[float]]:
    """Ask each `count` times in random order; milliseconds by server."""
    lines = [Line.of(name, request) for name, request in requests.items()]
    for _ in range(count):
        for line in random.sample(lines, len(lines)):
            line.ask()
    for line in lines:
        line.connection.close()
    return {line.name: [seconds * 1000 for seconds in line.seconds] for line in lines}


def table(title: str, taken: dict[str, list[float]], base: str) -> None:
    """Print percentiles, and the base's over each."""
    shares = (5, 50, 99)
    basis = np.percentile(taken[base], shares)
    print(
        f"\n| {title} | p5 ms | p50 | p99 | {base}'s p5 / this | {base}'s p50 / this |\n|---|---|---|---|---|---|"
    )
    for name, values in taken.items():
        own = np.percentile(values, shares)
        cells = [f"{value:.3f}" for value in own]
        print(
            f"| {name} | {' | '.join(cells)} | {basis[0] / own[0]:.2f}x | {basis[1] / own[1]:.2f}x |",
            flush=True,
        )
