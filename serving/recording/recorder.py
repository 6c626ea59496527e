"""Keeps a share of the answered requests, off their path: the event loop puts, a thread converts, encrypts and writes.

A put never waits and never fails; what does not fit is counted. A process that is killed loses what it took in its
last two and a quarter seconds: `FLUSH_SECONDS` and `DRAIN_SECONDS`.
"""

import json
import logging
import random
import threading
import time
from collections import deque
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.encoded_images import ORIGINAL_SIZES
from tidegate.serving.inference.predictor import sample_rows
from tidegate.serving.recording.counted import Counted
from tidegate.serving.recording.day_count import DayCount
from tidegate.serving.recording.segment_writer import SegmentWriter
from tidegate.serving.recording.settings import Record

LOG = logging.getLogger("tidegate")
QUEUE_SIZE = 1024  # requests that wait
QUEUE_BYTES = 32 << 20
REQUEST_BYTES = 1000  # what an entry takes beside its arrays, roughly
MAX_ROWS = 256  # that are kept of one request
DRAIN_SECONDS, FLUSH_SECONDS = 0.25, 2.0


class _Taken(NamedTuple):
    """Rows of one answered request, `numbers` being their places in it."""

    time: float
    request: bytes
    numbers: range
    columns: Columns
    values: NDArray[Any]
    size: int


class Recorder:
    """The recording of one process.

    Args:
        settings: what is recorded.
        contract: of the release.
        release: its number; None where it has none.
        days: how many rows the day may have yet.
        writer: of the segments.
        counted: where rows are counted.
    """

    def __init__(
        self,
        settings: Record,
        contract: Contract,
        release: int | None,
        days: DayCount,
        writer: SegmentWriter,
        counted: Counted,
    ) -> None:
        self._share, self._contract, self._release = settings.share, contract, release
        self._names = [field.name for field in contract.inputs if field.name not in settings.drop]
        images = [field.name for field in contract.inputs if field.kind == "image"]
        self._image = images[0] if images and contract.detection is not None else ""
        self._beside = [ORIGINAL_SIZES] if self._image in self._names else []
        self._days, self._writer, self._counted = days, writer, counted
        self._waiting: deque[_Taken] = deque()
        self._put_bytes = self._taken_bytes = 0  # each is changed by one thread only
        self._random = random.Random().random  # forked processes draw alike with the module's own
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def chosen(self) -> bool:
        """Whether the next request is recorded."""
        return self._random() < self._share

    def put(self, request: bytes, columns: Columns, values: NDArray[Any]) -> None:
        """Add one answered request; returns at once, never raises.

        Args:
            request: its id.
            columns: the raw inputs, `(n, ...)` each; those that are dropped are let go of here.
            values: the predictions `(n, ...)`.
        """
        rows = len(values)
        if not rows:
            return None
        wanted = min(rows, MAX_ROWS)
        self._counted.skipped("large", rows - wanted)
        kept = {name: columns[name] for name in (*self._names, *self._beside) if name in columns}
        step = -(-rows // wanted)
        if step > 1:
            kept, values = {name: column[::step] for name, column in kept.items()}, values[::step]
            self._counted.skipped("large", wanted - len(values))
        size = REQUEST_BYTES + _bytes_of(values) + sum(map(_bytes_of, kept.values()))
        waiting = self._put_bytes - self._taken_bytes
        if len(self._waiting) >= QUEUE_SIZE or waiting + size > QUEUE_BYTES:
            return self._counted.skipped("queue", len(values))
        now = time.time()
        left = self._days.take(len(values), now)
        self._counted.skipped("day", len(values) - left)
        if left:
            self._put_bytes += size
            numbers = range(0, rows, step)[:left]
            kept, values = {name: _owned(column) for name, column in kept.items()}, _owned(values)
            self._waiting.append(_Taken(now, request, numbers, kept, values, size))
        return None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end the thread."""
        self._stopped.set()
        self._thread.join(FLUSH_SECONDS + 5)

    def _work(self) -> None:
        due = time.monotonic() + FLUSH_SECONDS
        while not self._stopped.wait(DRAIN_SECONDS):
            self._convert()
            if time.monotonic() >= due:
                self._writer.flush()
                due = time.monotonic() + FLUSH_SECONDS
        self._convert()
        self._writer.flush()

    def _convert(self) -> None:
        while self._waiting:
            taken = self._waiting.popleft()
            self._taken_bytes += taken.size
            try:
                lines = self._lines(taken)
            except (
                Exception
            ) as error:  # an error of one request must not end the thread; a message may quote it
                LOG.error("a request was not recorded: %s", type(error).__name__)
                self._counted.skipped("failed", len(taken.numbers))
                continue
            self._writer.add(taken.time, lines)
            time.sleep(0)  # the event loop may wait for the interpreter

    def _lines(self, taken: _Taken) -> list[bytes]:
        count = len(taken.numbers)
        listed = [sample_rows({name: taken.columns[name]}, count) for name in self._names]
        rows = (
            [dict(zip(self._names, row, strict=True)) for row in zip(*listed, strict=True)]
            if listed
            else [{} for _ in range(count)]
        )
        answers = self._contract.predictions(self._values(taken)[:count])
        head = {"time": taken.time, "release": self._release, "request": taken.request.decode("ascii")}
        return [
            encoded({**head, "number": number, "row": row, "answer": answer})
            for number, row, answer in zip(taken.numbers, rows, answers, strict=True)
        ]

    def _values(self, taken: _Taken) -> NDArray[Any]:
        """The predictions; boxes in the pixels of the image that is kept, not of the one that was sent."""
        sizes = taken.columns.get(ORIGINAL_SIZES)
        if sizes is None or not self._beside:
            return taken.values
        kept = taken.columns[self._image].shape[1:3]
        scales = np.asarray(kept, np.float32) / sizes
        values = taken.values.copy()
        values[:, :, 2::2] *= scales[:, None, 1:]
        values[:, :, 3::2] *= scales[:, None, :1]
        return values


def encoded(row: dict[str, Any]) -> bytes:
    """A row as one line of JSON."""
    try:
        return orjson.dumps(row)
    except TypeError:  # half a surrogate pair, or an integer beyond 64 bits
        return json.dumps(row).encode()


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    """The array without what it is a part of, such as a request's body or a batch: that would stay in memory too."""
    return array if array.base is None else array.copy()


def _bytes_of(array: NDArray[Any]) -> int:
    if array.dtype != object:
        return array.nbytes
    return (
        array.nbytes
        + sum(len(value) for value in array.flat if isinstance(value, str)) * np.dtype("U1").itemsize
    )
