"""Admission control: how many requests an endpoint accepts at once, and which it rejects.

A burst may wait: the queue has as many places as requests can be answered within `Limits.queue_seconds`. A full queue
means overload. A queue that never empties only makes every request late, so from then on it is just long enough to keep
the workers busy. The overload is over when a request finds a free worker and none was rejected for `queue_seconds`.
To judge a queue by whether it empties is the idea of Nichols, Jacobson, "Controlling Queue Delay", ACM Queue 10(5),
2012.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from tidegate.serving.errors import RejectedError
from tidegate.serving.http.asgi import too_large

STEP_UP, STEP_DOWN = 1.02, 1 / 1.02  # steps of the estimate of how long a request takes
UPDATE_EVERY = 16  # requests between two updates of the queue's length
RETRY_AFTER = b"1"  # seconds


@dataclass(frozen=True)
class Limits:
    """The limits of an endpoint.

    Attributes:
        max_body_bytes: of one request.
        max_rows: of one request.
        max_total_bytes: of all request bodies in memory.
        receive_seconds: within which a request's headers and body must arrive.
        deadline_seconds: after which a request without a response is given up.
        queue_seconds: the longest expected wait; a request that would wait longer is rejected.
        overload_queue_seconds: the same, under overload.
        max_requests: at once, however fast they are.
        min_requests: at once that are always accepted, however slow they are.
        max_explanations: requests for explanations at once; one of them is computed, the others wait.
    """

    max_body_bytes: int = 64 << 20
    max_rows: int = 16384
    max_total_bytes: int = 256 << 20
    receive_seconds: float = 20.0
    deadline_seconds: float = 30.0
    queue_seconds: float = 0.1
    overload_queue_seconds: float = 0.01
    max_requests: int = 1024
    min_requests: int = 32
    max_explanations: int = 4


class Held(NamedTuple):
    """What the requests of a process hold of what all processes of a server share."""

    body_bytes: int
    explaining: int


class Admission:
    """Counts the requests in flight, and rejects a request that would wait too long.

    Args:
        limits: of the endpoint.
        workers: predictions that can run at once.
        seconds: a first estimate of how long a request takes.

    Attributes:
        overloaded: whether there is overload, and not only a burst.
        in_flight: requests that are being read or answered.
        reading: those of them whose body has not arrived: a slow client takes no place in the queue.
        queued: those of them that wait for a worker.
        explaining: those of them that wait for explanations, which take long and have a queue of their own.
        body_bytes: bytes of their bodies that have arrived: bytes that are only announced do not count.
        closed: why no request is accepted any more; "" while they are.
    """

    def __init__(self, limits: Limits, workers: int, seconds: float) -> None:
        self._limits, self._workers, self._seconds = limits, workers, seconds
        self._elsewhere: Callable[[], Held] = lambda: Held(0, 0)
        self._tell: Callable[[Held], None] = _tell_nobody
        self._durations = 0
        self._update_capacity()
        self.overloaded, self._last_rejection = False, 0.0
        self.in_flight = 0
        self.reading = 0
        self.queued = 0
        self.explaining = 0
        self.body_bytes = 0
        self.closed = ""

    def share(self, processes: int, elsewhere: Callable[[], Held], tell: Callable[[Held], None]) -> None:
        """From now on this process is one of several of one server.

        The bytes of bodies and the explanations of all of them are limited together; of the places that fast requests
        may take, each has its share. The longest wait is each process's own, as nobody waits for another process.

        Args:
            processes: how many there are.
            elsewhere: what the requests of the others hold.
            tell: called when what those of this process hold changed.
        """
        self._elsewhere, self._tell = elsewhere, tell
        self._limits = replace(self._limits, max_requests=-(-self._limits.max_requests // processes))
        self._update_capacity()

    def enter(self, waiting: int, size: int) -> None:
        """Accept one more request; arguments and errors are those of `check`."""
        self.check(waiting, size)
        self.in_flight += 1

    def check(self, waiting: int, size: int) -> None:
        """Check whether there is room for one more request.

        Args:
            waiting: complete requests without a response, this one included.
            size: bytes of its body, as announced.

        Raises:
            RejectedError: 413, or 503 with the seconds after which to retry.
        """
        if self.closed:
            raise RejectedError(503, "unproved", self.closed, ((b"retry-after", RETRY_AFTER),))
        if size > self._limits.max_body_bytes:
            raise too_large(self._limits.max_body_bytes)
        ahead = max(waiting - 1, self.in_flight - self.reading) - self.explaining
        if self.overloaded and ahead < self._workers:
            self.overloaded = time.monotonic() - self._last_rejection < self._limits.queue_seconds
        if ahead >= (self._max_overloaded if self.overloaded else self._max_ahead):
            self.overloaded, self._last_rejection = True, time.monotonic()
            raise self._overloaded(f"{ahead} requests are waiting")

    def enter_explanation(self) -> None:
        """Move a request to the queue for explanations, until `leave_explanation`; raises RejectedError (503)."""
        explaining = self.explaining + self._elsewhere().explaining
        if explaining >= self._limits.max_explanations:
            raise self._overloaded(f"{explaining} requests wait for explanations")
        self.explaining += 1
        self._tell(Held(self.body_bytes, self.explaining))

    def leave_explanation(self) -> None:
        """An explanation is done."""
        self.explaining -= 1
        self._tell(Held(self.body_bytes, self.explaining))

    def abandon(self) -> None:
        """A request was given up while its prediction still runs: it counts until `leave`."""
        self.in_flight += 1

    def add_bytes(self, size: int) -> None:
        """Count bytes of a body that arrived (or, negative, that were dropped); raises RejectedError (503)."""
        held = self.body_bytes + self._elsewhere().body_bytes if size > 0 else 0
        if size > 0 and held + size > self._limits.max_total_bytes:
            raise self._overloaded(f"{held} bytes of requests are being read")
        self._hold(size)

    def leave(self, size: int) -> None:
        """A request is done, whose body had `size` bytes."""
        self.in_flight -= 1
        self._hold(-size)

    def record_duration(self, seconds: float) -> None:
        """Update the estimate of a request's duration; it follows the median, so one slow request hardly moves it."""
        self._seconds *= STEP_UP if seconds > self._seconds else STEP_DOWN
        self._durations += 1
        if self._durations % UPDATE_EVERY == 0:
            self._update_capacity()

    def _hold(self, size: int) -> None:
        self.body_bytes += size
        self._tell(Held(self.body_bytes, self.explaining))

    def _update_capacity(self) -> None:
        limits, rate = self._limits, self._workers / max(self._seconds, 1e-6)
        self._max_ahead = max(limits.min_requests, min(limits.max_requests, int(limits.queue_seconds * rate)))
        short = max(self._workers + 1, int(limits.overload_queue_seconds * rate))
        self._max_overloaded = min(self._max_ahead, short)

    def _overloaded(self, received: str) -> RejectedError:
        words = f"{received}; expected fewer at once; ask again in a second, or add replicas"
        return RejectedError(503, "overloaded", words, ((b"retry-after", RETRY_AFTER),))


def _tell_nobody(held: Held) -> None:
    """There is no other process."""
