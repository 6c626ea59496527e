"""Releases swap on one port while clients keep asking: no request fails."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.forked import Server
from tidegate.serving.deployment.handover import drain, status, take_over

BODY = json.dumps({"rows": [[[0] * 8 for _ in range(8)]]}).encode()


@dataclass
class Load:
    """Clients that ask without pause; each answer's release is counted, each failure kept."""

    port: int
    releases: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def keep_alive(self) -> None:
        """One connection, reopened only when the server says `Connection: close`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.stopped.is_set():
            self._ask(connection)
        connection.close()

    def one_by_one(self) -> None:
        """A connection a request."""
        while not self.stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self._ask(connection)
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.request("POST", "/predict", BODY)
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {answer}")
        except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            self.failures.append(repr(error))
            connection.close()
            return
        self.releases[answer["release"]] += 1
        time.sleep(0.001)


@pytest.mark.parametrize("several", [(1, 1, 1, 1), (1, 2, 3, 1)], ids=["one process", "several processes"])
def test_three_swaps_under_load_fail_no_request(
    images: Path,
    start: Callable[..., Server],
    tmp_path: Path,
    free_port: int,
    several: tuple[int, ...],
) -> None:
    processes = [start(images, "digits", 1, tmp_path / "1", processes=several[0])]
    take_over(tmp_path / "1", free_port)
    load = Load(free_port)
    clients = [threading.Thread(target=run) for run in [load.keep_alive, load.one_by_one] * 2]
    for client in clients:
        client.start()
    try:
        for number in (2, 3, 4):
            started = start(images, "digits", number, tmp_path / str(number), processes=several[number - 1])
            processes.append(started)
            previous = tmp_path / str(number - 1)
            assert take_over(tmp_path / str(number), free_port, previous)["port"] == free_port
            assert drain(previous)
            assert processes[-2].wait(20) == 0
    finally:
        load.stopped.set()
        for client in clients:
            client.join()
    assert load.failures == []
    assert set(load.releases) == {1, 2, 3, 4}


@pytest.mark.parametrize("several", [1, 2], ids=["one process", "two processes"])
def test_a_dead_predecessor_does_not_stop_the_next(
    images: Path,
    start: Callable[..., Server],
    tmp_path: Path,
    free_port: int,
    several: int,
) -> None:
    first = start(images, "digits", 1, tmp_path / "1", processes=several)
    take_over(tmp_path / "1", free_port)
    first.kill()
    first.wait()
    assert status(tmp_path / "1") is None
    start(images, "digits", 2, tmp_path / "2")
    assert take_over(tmp_path / "2", free_port, tmp_path / "1")["port"] == free_port
