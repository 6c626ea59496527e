"""A client that asks at a fixed rate whatever comes back, for a bounded time: requests are never held back."""

import http.client
import itertools
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LONGEST_S = 300.0  # whatever a test does, the load ends by itself
CLIENTS = 16


@dataclass(frozen=True)
class Answer:
    """One answer: when it came, how long it took from its appointed time (s), which release gave it, its classes."""

    when: float
    seconds: float
    release: int
    labels: tuple[Any, ...]


@dataclass
class OpenLoop:
    """Asks `url` for `rows` so many times a second; half of the clients keep their connection.

    Attributes:
        answers: what came back with status 200.
        failures: everything else, in words.
    """

    url: str
    rows: list[Any]
    rate: float
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _local: threading.local = field(default_factory=threading.local)
    _connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def __enter__(self) -> "OpenLoop":
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clock = threading.Thread(target=self._tick)
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._clock.join()
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _tick(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            due = began + number / self.rate
            if self._over.wait(max(0.0, due - time.monotonic())) or due - began > LONGEST_S:
                return
            self._pool.submit(self._ask, due, number)

    def _ask(self, due: float, number: int) -> None:
        keep = number % 2 == 0
        connection = getattr(self._local, "connection", None) or self._connect()
        self._local.connection = connection
        try:
            # Not in turn: a gateway that takes turns would send each kind of row to one release.
            self._once(connection, due, random.Random(number).choice(self.rows))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.failures.append(f"{'kept' if keep else 'new'} connection: {error!r}")
            connection.close()
        if not keep:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        self._connections.append(connection)
        return connection

    def _once(self, connection: http.client.HTTPConnection, due: float, row: Any) -> None:
        body = json.dumps({"rows": [row]}).encode()
        path = f"{urlsplit(self.url).path}/predict"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            self.failures.append(f"{answer.status} {content[:200]!r}")
            return
        document, now = json.loads(content), time.monotonic()
        labels = tuple(prediction["label"] for prediction in document["predictions"])
        self.answers.append(Answer(now, now - due, document["release"], labels))

    def releases(self, since: float = 0.0) -> set[int]:
        """Releases that answered since a moment of `time.monotonic`."""
        return {answer.release for answer in self.answers if answer.when >= since}
