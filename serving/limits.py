"""How much an endpoint takes on at once, and what it turns away."""

from dataclasses import dataclass

from serving.asgi import too_large
from serving.errors import RefusedError

MORE, LESS = 1.02, 1 / 1.02  # a step of the estimate of how long a request takes
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
        requests: requests at once, whatever they take.
        least: requests at once that are never too many.
    """

    body: int = 64 << 20
    rows: int = 16384
    held: int = 256 << 20
    receive: float = 20.0
    deadline: float = 30.0
    queue: float = 0.1
    requests: int = 1024
    least: int = 32


class Admission:
    """Counts what is being answered, and refuses what would wait too long.

    Args:
        limits: of the endpoint.
        workers: predictions that can run at once.
        seconds: how long a request takes, as far as is known at the start.
    """

    def __init__(self, limits: Limits, workers: int, seconds: float) -> None:
        self._limits, self._workers, self._seconds = limits, workers, seconds
        self._allowed = self._places()
        self.in_flight = 0
        self.queued = 0
        self.held = 0

    def enter(self, waiting: int, size: int) -> None:
        """Take on one more request of `size` bytes (as announced), of which `waiting` are known to be there.

        Raises:
            RefusedError: 413, or 503 with the seconds after which to ask again.
        """
        if size > self._limits.body:
            raise too_large(self._limits.body)
        if waiting > self._allowed or self.in_flight >= self._allowed:
            raise self._overloaded(f"{max(waiting, self.in_flight)} requests are waiting")
        if self.held + size > self._limits.held:
            raise self._overloaded(f"{self.held} bytes of requests are being read")
        self.in_flight += 1
        self.held += size

    def abandon(self) -> None:
        """A request was given up while its prediction runs on: it keeps a place until `leave`."""
        self.in_flight += 1

    def grow(self, size: int) -> None:
        """So many more bytes of a body have come that was not announced; raises RefusedError (503)."""
        if size > 0 and self.held + size > self._limits.held:
            raise self._overloaded(f"{self.held} bytes of requests are being read")
        self.held += size

    def leave(self, size: int) -> None:
        """One request is answered."""
        self.in_flight -= 1
        self.held -= size

    def took(self, seconds: float) -> None:
        """Learn how long a request took: the estimate follows the median, which one slow request does not move."""
        self._seconds *= MORE if seconds > self._seconds else LESS
        self._allowed = self._places()

    def _places(self) -> int:
        fits = int(self._limits.queue * self._workers / max(self._seconds, 1e-6))
        return max(self._limits.least, min(self._limits.requests, fits))

    def _overloaded(self, received: str) -> RefusedError:
        words = f"{received}; expected fewer at once; ask again in a second, or add replicas"
        return RefusedError(503, "overloaded", words, ((b"retry-after", RETRY),))
