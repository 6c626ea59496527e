"""Requests that wait for the model are predicted together, where that was measured to be faster.

Nobody waits for company: while one thread is at the model others queue up, and the next one takes along all that
wait by then.
"""

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.columns import Columns, rows_of, take

Predict = Callable[[Columns], NDArray[np.float32]]
SIZES = (2, 4, 8, 16, 32)
GAIN = 0.8  # a batch must take at most so much of the time of its rows one by one
BUDGET = 1.0  # seconds that measuring may take


class _Job:
    """The rows of one request, and what became of them."""

    def __init__(self, columns: Columns) -> None:
        self.columns, self.rows = columns, rows_of(columns)
        self.values: NDArray[np.float32] | None = None


class Batcher:
    """Predicts for many threads, one batch at a time.

    Args:
        predict: raw columns to predictions.
        most: rows of a batch; a request with more is predicted by itself.
    """

    def __init__(self, predict: Predict, most: int) -> None:
        self._predict, self._most = predict, most
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._waiting: list[_Job] = []

    def predict(self, columns: Columns) -> NDArray[np.float32]:
        """Predict one request's rows, alone or in company; raises what `predict` raises for these rows alone."""
        job = _Job(columns)
        if job.rows >= self._most:
            return self._predict(columns)
        with self._lock:
            self._waiting.append(job)
        with self._turn:
            if job.values is None:
                self._run(self._taken(job))
        # None: the batch failed, and whose fault that was is seen only one by one.
        return self._predict(columns) if job.values is None else job.values

    def _taken(self, own: _Job) -> list[_Job]:
        """The thread's own job, unless another thread had it already, and as many others as fit."""
        with self._lock:
            if own not in self._waiting:
                return []
            self._waiting.remove(own)
            taken, rows = [own], own.rows
            while self._waiting and rows + self._waiting[0].rows <= self._most:
                taken.append(self._waiting.pop(0))
                rows += taken[-1].rows
            return taken

    def _run(self, jobs: list[_Job]) -> None:
        if len(jobs) < 2:
            for job in jobs:
                job.values = self._predict(job.columns)
            return
        names = jobs[0].columns
        try:
            values = self._predict(
                {name: np.concatenate([job.columns[name] for job in jobs]) for name in names}
            )
        except Exception:  # each is tried again by itself
            return
        start = 0
        for job in jobs:
            job.values = values[start : start + job.rows]
            start += job.rows


def measure(predict: Predict, sample: Columns) -> int:
    """The rows of a batch that pays, 1 where none does: measured with this model on this machine.

    Args:
        predict: raw columns to predictions, warmed up.
        sample: a few raw rows.
    """
    until = time.perf_counter() + BUDGET
    one = _seconds(predict, sample, 1)
    best = 1
    for size in SIZES:
        if time.perf_counter() > until or _seconds(predict, sample, size) > GAIN * one * size:
            break
        best = size
    return best


def _seconds(predict: Predict, sample: Columns, rows: int) -> float:
    columns = take(sample, np.arange(rows) % rows_of(sample))
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        predict(columns)
        taken.append(time.perf_counter() - began)
    return min(taken)
