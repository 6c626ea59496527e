"""All servers in turn: the fairest comparison on a machine that is not quiet.

With one connection request by request, with more in slices of a fifth of a second: whatever slows the machine down
for a moment hits all of them alike.
"""

import asyncio
import random
import statistics
from collections.abc import Mapping
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
    """What one server did: requests a second, times the base's in the same round, milliseconds of each request."""

    rate: float
    ratio: float
    taken: list[float]


def content(request: Request) -> bytes:
    """The whole request as bytes."""
    parts = urlsplit(request.url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(request.body)}"]
    lines += [f"{key}: {value}" for key, value in request.headers]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def port(request: Request) -> int:
    """Of the server."""
    return urlsplit(request.url).port or 80


def one_by_one(requests: Mapping[str, Request], count: int, base: str) -> dict[str, Measured]:
    """Ask each `count` times over one connection, in random order."""
    taken = uvloop.run(_one_by_one(requests, count))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    return {
        name: Measured(1000 / statistics.mean(values), middle[base] / middle[name], values)
        for name, values in taken.items()
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


def slices(requests: Mapping[str, Request], connections: int, rounds: int, base: str) -> dict[str, Measured]:
    """Ask each over so many connections at once, `rounds` times a slice, in random order."""
    return uvloop.run(_slices(requests, connections, rounds, base))


async def _slices(
    requests: Mapping[str, Request], connections: int, rounds: int, base: str
) -> dict[str, Measured]:
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
    ratios = {
        name: statistics.median(own / bare for own, bare in zip(found, rates[base], strict=True))
        for name, found in rates.items()
    }
    return {
        lane.name: Measured(statistics.median(rates[lane.name]), ratios[lane.name], lane.taken)
        for lane in lanes
    }


HEAD = "| what | connections | server | requests/s | of bare | p50 ms | p99 ms | p99.9 ms |\n|" + 8 * "---|"


def show(what: str, connections: int, found: Mapping[str, Measured]) -> None:
    """Print a line a server."""
    for name, measured in found.items():
        shares = [f"{value:.2f}" for value in np.percentile(measured.taken, (50, 99, 99.9))]
        cells = [what, str(connections), name, f"{measured.rate:.0f}", f"{measured.ratio:.2f}x", *shares]
        print(f"| {' | '.join(cells)} |", flush=True)
