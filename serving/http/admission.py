"""How much an endpoint takes on at once, and what it turns away.

A burst may wait: the places are as many as can be answered within `Limits.queue` seconds. Once they were all taken it
is no burst but overload, and a queue that never empties again would only make each request late, whoever gets a place.
So from then on there are no more places than keep the workers busy, until a request comes that finds a worker free
when for `queue` seconds none was refused.
The idea, to judge a queue by whether it empties, is that of Nichols, Jacobson, "Controlling Queue Delay", ACM Queue
10(5), 2012.
"""

import time
from dataclasses import dataclass

from tidegate.serving.errors import RefusedError
from tidegate.serving.http.asgi import too_large

MORE, LESS = 1.02, 1 / 1.02  # a step of the estimate of how long a request takes
LOOK = 16  # requests between two looks at the places
RETRY = b"1"  # seconds


@dataclass(frozen=True)
class Limits:
    """The limits of an endpoint.

    Attributes:
        body: bytes of one request.
        rows: rows of one request.
        held: bytes of all request bodies held at once.
        receive: seconds in which a request's headers and body must have come.
        deadline: seconds after which a request that is not answered is given up.
        queue: seconds that a request may have to wait for those before it; past that, new ones are refused.
        standing: the same, under overload.
        requests: requests at once, whatever they take.
        least: requests at once that are never too many.
        explaining: requests at once that ask for explanations, one of which is worked at.
    """

    body: int = 64 << 20
    rows: int = 16384
    held: int = 256 << 20
    receive: float = 20.0
    deadline: float = 30.0
    queue: float = 0.1
    standing: float = 0.01
    requests: int = 1024
    least: int = 32
    explaining: int = 4


class Admission:
    """Counts what is being answered, and refuses what would wait too long.

    Args:
        limits: of the endpoint.
        workers: predictions that can run at once.
        seconds: how long a request takes, as far as is known at the start.

    Attributes:
        strained: whether there is overload, and not only a burst.
        in_flight: requests being read and answered.
        reading: of these, the ones whose body is still to come: who sends slowly takes nobody's place.
        queued: of these, the ones that wait for a worker.
        aside: of these, the ones that are explained, which takes long: they take nobody's place, having their own.
        held: bytes of their bodies that have come: what is only announced takes no room from others.
    """

    def __init__(self, limits: Limits, workers: int, seconds: float) -> None:
        self._limits, self._workers, self._seconds = limits, workers, seconds
        self._learned = 0
        self._places()
        self.strained, self._refused = False, 0.0
        self.in_flight = 0
        self.reading = 0
        self.queued = 0
        self.aside = 0
        self.held = 0

    def enter(self, waiting: int, size: int) -> None:
        """Take on one more request; as `check`."""
        self.check(waiting, size)
        self.in_flight += 1

    def check(self, waiting: int, size: int) -> None:
        """Look whether there is room for one more request.

        Args:
            waiting: requests that have come whole and are not answered, this one among them.
            size: bytes of its body, as announced.

        Raises:
            RefusedError: 413, or 503 with the seconds after which to ask again.
        """
        if size > self._limits.body:
            raise too_large(self._limits.body)
        ahead = max(waiting - 1, self.in_flight - self.reading) - self.aside
        if self.strained and ahead < self._workers:
            self.strained = time.monotonic() - self._refused < self._limits.queue
        if ahead >= (self._few if self.strained else self._many):
            self.strained, self._refused = True, time.monotonic()
            raise self._overloaded(f"{ahead} requests are waiting")

    def set_aside(self) -> None:
        """An explanation is asked for: it has another place until `aside` is less; raises RefusedError (503)."""
        if self.aside >= self._limits.explaining:
            raise self._overloaded(f"{self.aside} requests wait for explanations")
        self.aside += 1

    def abandon(self) -> None:
        """A request was given up while its prediction runs on: it keeps a place until `leave`."""
        self.in_flight += 1

    def grow(self, size: int) -> None:
        """So many more bytes of a body have come, or are given up; raises RefusedError (503)."""
        if size > 0 and self.held + size > self._limits.held:
            raise self._overloaded(f"{self.held} bytes of requests are being read")
        self.held += size

    def leave(self, size: int) -> None:
        """One request is answered, whose body had so many bytes."""
        self.in_flight -= 1
        self.held -= size

    def took(self, seconds: float) -> None:
        """Learn how long a request took: the estimate follows the median, which one slow request does not move."""
        self._seconds *= MORE if seconds > self._seconds else LESS
        self._learned += 1
        if self._learned % LOOK == 0:
            self._places()

    def _places(self) -> None:
        limits, rate = self._limits, self._workers / max(self._seconds, 1e-6)
        self._many = max(limits.least, min(limits.requests, int(limits.queue * rate)))
        self._few = min(self._many, max(self._workers + 1, int(limits.standing * rate)))

    def _overloaded(self, received: str) -> RefusedError:
        words = f"{received}; expected fewer at once; ask again in a second, or add replicas"
        return RefusedError(503, "overloaded", words, ((b"retry-after", RETRY),))
