"""A new release takes over under constant requests, and a rollback gives it back: nobody notices."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from ..conftest import Cli
from .conftest import (
    QUICK,
    begun,
    champion_run,
    check_mlflow,
    endpoint_state,
    known_runs,
    new_run,
    predict,
    row_of,
    strays,
    wait,
    wait_for,
)

MIXED = 4  # clients: two keep their connection, two open one for each request


class Load:
    """Clients that ask without a pause, and never a second time."""

    def __init__(self, url: str, body: bytes) -> None:
        self._place, self._body = urlsplit(url).netloc, body
        self._over = threading.Event()
        self.failures: list[str] = []
        self.answers: list[tuple[float, int, int]] = []  # when, release, label
        self._clients = [
            threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(MIXED)
        ]

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _ask(self, keep: bool) -> None:
        with contextlib.closing(http.client.HTTPConnection(self._place, timeout=30)) as connection:
            while not self._over.is_set():
                try:
                    self._once(connection)
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(f"{'kept' if keep else 'new'} connection: {error!r}")
                    connection.close()
                if not keep:
                    connection.close()
                time.sleep(0.002)

    def _once(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/predict", self._body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            self.failures.append(f"{answer.status} {content[:200]!r}")
            return
        document = json.loads(content)
        self.answers.append((time.monotonic(), document["release"], document["predictions"][0]["label"]))

    def releases(self) -> list[int]:
        """Releases that answered, in the order in which each was first seen."""
        return list(dict.fromkeys(release for _, release, _ in self.answers))


@pytest.fixture(scope="module")
def releases(house: Cli) -> Iterator[list[dict[str, object]]]:
    yield [house.ok("submit", "digits", *QUICK)]


def test_promotion_and_rollback_under_load(house: Cli, releases: list[dict[str, object]]) -> None:
    first = releases[0]
    url, body = str(first["endpoint"]), row_of(first)
    before = predict(url, body)
    assert champion_run(house) == check_mlflow(house, str(first["run"]))[1]

    known = known_runs(house)
    submit = house.start("submit", "digits", *QUICK, "--set", "training.seed=4", "--json")
    run = new_run(house, known)
    wait_for("a release", lambda: "deploy" in begun(house, run))

    with Load(url, body) as load:
        second = wait(submit).json
        promoted = len(load.answers)
        time.sleep(0.5)
        rolled_back = house.ok("rollback", "digits")
        back = len(load.answers)
        time.sleep(0.5)

    assert load.failures == []
    assert load.releases() == [1, 2]
    assert {release for _, release, _ in load.answers[promoted:][:50]} == {2}
    assert {release for _, release, _ in load.answers[back + MIXED :]} == {1}
    assert (second["release"], rolled_back["release"], rolled_back["url"]) == (2, 1, url)
    assert predict(url, body) == before
    assert strays(house) == []
    releases.append(second)


def test_the_alias_follows_the_release(house: Cli, releases: list[dict[str, object]]) -> None:
    first, second = releases
    children = [check_mlflow(house, str(answer["run"]))[1] for answer in (first, second)]
    assert champion_run(house) == children[0]  # it was rolled back

    house.ok("rollback", "digits", "--to", "2")
    assert champion_run(house) == children[1]

    house.ok("delete", "digits")
    assert champion_run(house) is None
    assert endpoint_state(house)["current"] is None
    assert strays(house) == []
