"""All servers in turn: the fairest comparison on a machine that is not quiet.

With one connection request by request, with more in slices of a fifth of a second: whatever slows the machine down
for a moment hits all of them alike.
"""

import asyncio
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import uvloop

from tests.bench.serving.asker import ClosedLoop, Line, connect
from tests.bench.serving.load import Request

SLICE = 0.2  # seconds
WARM = 0.5


@dataclass(frozen=True)
class Measured:
    """What one server did: requests a second, the same round by round, milliseconds of each request."""

    rate: float
    rounds: list[float]
    taken: list[float]

    def times(self, base: "Measured") -> float:
        """How many times as fast as another one it was, in the median of the rounds."""
        return statistics.median(own / other for own, other in zip(self.rounds, base.rounds, strict=True))


def content(request: Request) -> bytes:
    """The whole request as bytes."""
    parts = urlsplit(request.url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(request.body)}"]
    lines += [f"{key}: {value}" for key, value in request.headers]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def port(request: Request) -> int:
    """Of the server."""
    return urlsplit(request.url).port or 80


def one_by_one(requests: Mapping[str, Request], count: int) -> dict[str, Measured]:
    """Ask each `count` times over one connection, in random order; the median request is the one round."""
    return {
        name: Measured(1000 / statistics.mean(taken), [1000 / statistics.median(taken)], taken)
        for name, taken in uvloop.run(_one_by_one(requests, count)).items()
    }


async def _one_by_one(requests: Mapping[str, Request], count: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in requests}
    lanes = [_Alone(name, request, taken[name]) for name, request in requests.items()]
    for lane in lanes:
        await lane.open()
    for _ in range(count):
        for lane in random.sample(lanes, len(lanes)):
            await lane.ask()
    for lane in lanes:
        lane.line.close()
    return taken


class _Alone:
    """One connection, one request at a time, awaited."""

    line: Line

    def __init__(self, name: str, request: Request, taken: list[float]) -> None:
        self._name, self._request, self._taken = name, request, taken
        self._content = content(request)

    async def open(self) -> None:
        self.line = await connect(port(self._request), self._note)

    async def ask(self) -> None:
        self._answered = asyncio.get_running_loop().create_future()
        self.line.ask(self._content)
        await self._answered

    def _note(self, line: Line, status: str, spent: float) -> None:
        del line
        if status != "200":
            raise SystemExit(f"{self._name} answered {status}; expected 200")
        self._taken.append(spent)
        self._answered.set_result(None)


def slices(requests: Mapping[str, Request], connections: int, rounds: int) -> dict[str, Measured]:
    """Ask each over so many connections at once, `rounds` times a slice, in random order."""
    return uvloop.run(_slices(requests, connections, rounds))


async def _slices(requests: Mapping[str, Request], connections: int, rounds: int) -> dict[str, Measured]:
    lanes = [ClosedLoop(name, port(request), content(request)) for name, request in requests.items()]
    rates: dict[str, list[float]] = {lane.name: [] for lane in lanes}
    for lane in lanes:
        await lane.slice(WARM, connections)
        lane.taken.clear()
    for _ in range(rounds):
        for lane in random.sample(lanes, len(lanes)):
            rates[lane.name].append(await lane.slice(SLICE, connections))
    for lane in lanes:
        lane.close()
    return {
        lane.name: Measured(statistics.median(rates[lane.name]), rates[lane.name], lane.taken)
        for lane in lanes
    }


def show(what: str, connections: int, found: Mapping[str, Measured], bases: Sequence[str]) -> None:
    """Print a line a server, with its rate in those of the bases; "" for a base that is not there."""
    for name, measured in found.items():
        shares = [f"{value:.2f}" for value in np.percentile(measured.taken, (50, 99, 99.9))]
        ratios = [f"{measured.times(found[base]):.2f}x" if base in found else "" for base in bases]
        cells = [what, str(connections), name, f"{measured.rate:.0f}", *ratios, *shares]
        print(f"| {' | '.join(cells)} |", flush=True)


def head(bases: Sequence[str]) -> str:
    """The head of the table of `show`."""
    ratios = [f"of {base}" for base in bases]
    cells = ["what", "connections", "server", "requests/s", *ratios, "p50 ms", "p99 ms", "p99.9 ms"]
    return f"| {' | '.join(cells)} |\n|{len(cells) * '---|'}"
