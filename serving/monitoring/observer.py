"""Passes answered requests to an observer, such as drift monitoring, without delaying the requests.

The data plane puts `(columns, values)` into a bounded queue; when the observer is too slow the oldest are dropped and
counted. A thread passes them to the observer, several requests at a time.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns

LOG = logging.getLogger("tidegate")
Observation: TypeAlias = tuple[Columns, NDArray[np.float32]]
Observer: TypeAlias = Callable[[Sequence[Observation]], None]

QUEUE_SIZE = 1024  # requests
MAX_ROWS = 256  # that are kept of one request
INTERVAL = 1.0  # seconds between two calls of the observer


class ObserverQueue:
    """Passes answered requests to an observer.

    Args:
        observer: called in a thread of its own with `(raw columns, predictions)` of each request, at most 256 rows
            each; it must not change them. What it raises is logged, and it is called again with the next ones.
        interval: seconds between two calls.

    Attributes:
        dropped: requests that the observer did not get.
    """

    def __init__(self, observer: Observer, interval: float = INTERVAL) -> None:
        self._observer, self._interval = observer, interval
        self._waiting: deque[Observation] = deque(maxlen=QUEUE_SIZE)
        self.dropped = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="observer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Pass on what is left, and end the thread."""
        self._stopped.set()
        self._thread.join(self._interval + 1)

    def put(self, columns: Columns, values: NDArray[np.float32]) -> None:
        """Add one answered request; returns at once, never raises."""
        if len(values) > MAX_ROWS:  # copied: a slice would keep the whole request in memory
            # Evenly spaced: the first rows of a sorted file are not like the rest.
            step = -(-len(values) // MAX_ROWS)
            columns = {name: column[::step].copy() for name, column in columns.items()}
            values = values[::step].copy()
        if len(self._waiting) == QUEUE_SIZE:
            self.dropped += 1
        self._waiting.append((columns, values))

    def _drain(self) -> None:
        while not self._stopped.wait(self._interval):
            self._hand_over()
        self._hand_over()

    def _hand_over(self) -> None:
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        if not taken:
            return
        try:
            self._observer(taken)
        except Exception:  # an error of the observer must not end the thread
            LOG.exception("the observer of predictions failed")


class Recorder(Protocol):
    """Keeps a share of the answered requests, see `serving.recording`."""

    def chosen(self) -> bool:
        """Whether the next request is one of them."""

    def put(self, request: bytes, columns: Columns, values: NDArray[np.float32]) -> None:
        """Add one answered request, by its id; returns at once, never raises."""

    def start(self) -> None:
        """Start the thread."""

    def stop(self) -> None:
        """Write what is left, and end the thread."""
