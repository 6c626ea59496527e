"""Dynamic batching: requests that wait for the model are predicted together, where that was measured to be faster.

No request waits for others to come: while one thread runs the model others queue up, and all that wait by then are the
next batch.
"""

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.serving.bundle.measurements import INLINE_SECONDS, Batching

Predict = Callable[[Columns], NDArray[np.float32]]
SIZES = (2, 4, 8, 16, 32)
GAIN = 1.25  # least speed-up of a batch over single requests, for which its first request may wait longer
STEP = 1.1  # least speed-up of a larger batch over a smaller one
BUDGET = 0.8  # seconds that the measurement may take
ROUNDS = 15


class _Job:
    """The rows of one request and their predictions; `woken` when it was predicted, or is to `lead` a batch."""

    def __init__(self, columns: Columns) -> None:
        self.columns, self.rows = columns, rows_of(columns)
        self.values: NDArray[np.float32] | None = None
        self.lead, self.woken = False, threading.Event()


class Batcher:
    """Predicts for many threads, one batch at a time.

    Args:
        predict: raw columns to predictions.
        max_rows: of a batch; a request with as many or more is predicted by itself.
    """

    def __init__(self, predict: Predict, max_rows: int) -> None:
        self._predict, self._max_rows = predict, max_rows
        self._lock, self._busy = threading.Lock(), False
        self._waiting: deque[_Job] = deque()

    def predict(self, columns: Columns) -> NDArray[np.float32]:
        """Predict one request's rows, alone or in a batch; raises what `predict` raises for these rows alone."""
        job = _Job(columns)
        if job.rows >= self._max_rows:
            return self._predict(columns)
        with self._lock:
            self._waiting.append(job)
            job.lead, self._busy = not self._busy, True
        if not job.lead:
            job.woken.wait()
        if job.lead:
            self._lead()
        # None: the batch failed, and only each request by itself shows which one caused that.
        return self._predict(columns) if job.values is None else job.values

    def _lead(self) -> None:
        """Predict the waiting batch, the leader's own rows first; then let the next waiting job lead."""
        taken = self._taken()
        try:
            self._run(taken)
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                if self._busy:
                    self._waiting[0].lead = True
                    self._waiting[0].woken.set()
            for job in taken:
                job.woken.set()

    def _taken(self) -> list[_Job]:
        with self._lock:
            taken = [self._waiting.popleft()]
            rows = taken[0].rows
            while self._waiting and rows + self._waiting[0].rows <= self._max_rows:
                taken.append(self._waiting.popleft())
                rows += taken[-1].rows
            return taken

    def _run(self, jobs: list[_Job]) -> None:
        if len(jobs) < 2:
            jobs[0].values = self._predict(jobs[0].columns)
            return
        names = jobs[0].columns
        try:
            values = self._predict(
                {name: np.concatenate([job.columns[name] for job in jobs]) for name in names}
            )
        except Exception:  # each is predicted again by itself
            return
        start = 0
        for job in jobs:
            job.values = values[start : start + job.rows]
            start += job.rows


def measure(predict: Predict, sample: Columns, cpus: int) -> Batching:
    """Measure on this machine whether batches pay off for this model; takes about `BUDGET` seconds.

    Single requests are predicted by as many threads as there are CPUs, batches by one. All sizes are measured in turn,
    round after round, and the medians count: a moment in which the machine is slow affects all of them.

    Args:
        predict: raw columns to predictions.
        sample: a few raw rows.
        cpus: that this process may use.
    """
    with ThreadPoolExecutor(cpus) as threads:
        until = time.perf_counter() + BUDGET
        _seconds(predict, sample, 1)  # a runtime allocates in its first prediction
        alone = _seconds(predict, sample, 1)

        def speed(rows: int) -> float:
            began = time.perf_counter()
            if rows == 1:
                list(threads.map(lambda _: _seconds(predict, sample, 1), range(cpus)))
                rows = cpus
            else:
                _seconds(predict, sample, rows)
            return rows / (time.perf_counter() - began)

        speeds = _rounds(speed, until)
    return Batching(rows=1 if alone <= INLINE_SECONDS else _best(speeds), speeds=speeds)


def _rounds(speed: Callable[[int], float], until: float) -> dict[int, float]:
    """The median speed of each size, in rows per second, as far as the time allows."""
    sizes, seen = [1, *SIZES], dict[int, list[float]]()
    for number in range(ROUNDS):
        for size in sizes:
            if number and time.perf_counter() > until:
                break
            seen.setdefault(size, []).append(speed(size))
            if not number and time.perf_counter() > until - BUDGET / 2:
                sizes = list(seen)  # a first round that takes half of the time leaves none for larger sizes
                break
    return {size: round(statistics.median(found), 1) for size, found in seen.items()}


def _best(speeds: dict[int, float]) -> int:
    """The smallest batch that is about as fast as any; 1 where none is worth it."""
    best = 1
    for size, speed in speeds.items():
        if speed >= STEP * speeds[best]:
            best = size
    return best if speeds[best] >= GAIN * speeds[1] else 1


def _seconds(predict: Predict, sample: Columns, rows: int) -> float:
    columns = take(sample, np.arange(rows) % rows_of(sample))
    began = time.perf_counter()
    predict(columns)
    return time.perf_counter() - began
