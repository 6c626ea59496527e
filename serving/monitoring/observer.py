"""A side door for whoever watches what is asked and answered: off the request path, and never in its way.

The data plane drops `(columns, values)` into a bounded queue; when nobody takes them fast enough the oldest are
lost and counted. A thread hands them to a watcher, a batch at a time.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns

LOG = logging.getLogger("tidegate")
Seen: TypeAlias = tuple[Columns, NDArray[np.float32]]
Watcher: TypeAlias = Callable[[Sequence[Seen]], None]

MOST = 1024  # requests waiting
MOST_ROWS = 256  # of one request that are kept
EVERY = 1.0  # seconds between two looks


class Tap:
    """Hands answered requests to a watcher.

    Args:
        watcher: called in a thread of its own with `(raw columns, predictions)` of each request, at most 256 rows
            each; it must not change them. What it raises is logged, and it is called again with the next ones.
        every: seconds between two calls.
    """

    def __init__(self, watcher: Watcher, every: float = EVERY) -> None:
        self._watcher, self._every = watcher, every
        self._waiting: deque[Seen] = deque(maxlen=MOST)
        self.lost = 0  # requests
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="tap", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Hand over what is left, and end."""
        self._over.set()
        self._thread.join(self._every + 1)

    def put(self, columns: Columns, values: NDArray[np.float32]) -> None:
        """Take note of one answered request; returns at once, never raises."""
        if len(values) > MOST_ROWS:  # copied: a slice would hold on to the whole request
            step = -(
                -len(values) // MOST_ROWS
            )  # evenly: the first rows of a sorted file are not like the rest
            columns = {name: column[::step].copy() for name, column in columns.items()}
            values = values[::step].copy()
        if len(self._waiting) == MOST:
            self.lost += 1
        self._waiting.append((columns, values))

    def _drain(self) -> None:
        while not self._over.wait(self._every):
            self._hand_over()
        self._hand_over()

    def _hand_over(self) -> None:
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        if not taken:
            return
        try:
            self._watcher(taken)
        except Exception:  # a watcher that fails must not end the watching, let alone the serving
            LOG.exception("the watcher of predictions failed")
