"""Writes recorded rows as segments: the one that a process has open is replaced by one with more rows, until full."""

import logging
import time
from pathlib import Path

from tidegate.serving.recording.cipher import Cipher
from tidegate.serving.recording.counted import Counted
from tidegate.serving.recording.segments import (
    SEGMENT_SECONDS,
    Marks,
    expire,
    keep_for,
    locked,
    new_name,
    publish,
)

LOG = logging.getLogger("tidegate")
SEGMENT_ROWS = 500
SEGMENT_BYTES = 4 << 20  # before they are compressed
EXPIRE_EVERY = 300.0  # seconds
COMPLAIN_EVERY = 60.0


class SegmentWriter:
    """The segments of one process; used by one thread.

    Args:
        folder: of the endpoint.
        cipher: encrypts them.
        keep: seconds after which rows are deleted.
        counted: where rows are counted.
    """

    def __init__(self, folder: Path, cipher: Cipher, keep: float, counted: Counted) -> None:
        self._folder, self._cipher, self._keep, self._counted = folder, cipher, keep, counted
        self._marks = Marks(folder, cipher)
        self._name, self._began = "", 0.0
        self._lines: list[bytes] = []
        self._new = self._bytes = 0
        self._keep_noted = False
        self._expired = self._complained = float("-inf")

    def add(self, now: float, lines: list[bytes]) -> None:
        """Take rows of one time; a segment that is full is written at once."""
        if self._name and now - self._began > SEGMENT_SECONDS:
            self._close()
        if not self._name:
            self._name, self._began = new_name(now), now
        self._lines += lines
        self._new += len(lines)
        self._bytes += sum(map(len, lines))
        if len(self._lines) >= SEGMENT_ROWS or self._bytes >= SEGMENT_BYTES:
            self._close()

    def flush(self) -> None:
        """Write what is new; delete what is old from time to time."""
        if time.monotonic() - self._expired > EXPIRE_EVERY:
            self._expire()
        if self._new:
            self._write()
        if self._name and time.time() - self._began > SEGMENT_SECONDS:
            self._reset()

    def _close(self) -> None:
        if self._new:
            self._write()
        self._reset()

    def _reset(self) -> None:
        self._name, self._lines, self._new, self._bytes = "", [], 0, 0

    def _write(self) -> None:
        new, before = self._new, len(self._lines)
        try:
            with locked(self._folder):
                self._note_keep()
                self._lines = self._marks.kept(self._lines)
                publish(self._folder, self._name, self._cipher.seal(self._folder, self._name, self._lines))
        except OSError as error:  # the disk is full: the rows that are there stay, and a new segment is tried
            self._complain(error)
            self._counted.skipped("write", new)
            self._reset()
            return
        gone = min(new, before - len(self._lines))
        self._counted.recorded(new - gone)
        self._counted.skipped("forgotten", gone)
        self._new = 0

    def _note_keep(self) -> None:
        """Once: what a later release notes stays, also while this one still answers its last requests."""
        if not self._keep_noted:
            keep_for(self._folder, int(self._keep))
            self._keep_noted = True

    def _expire(self) -> None:
        self._expired = time.monotonic()
        try:
            with locked(self._folder):
                expire(self._folder, self._keep, time.time())
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if time.monotonic() - self._complained > COMPLAIN_EVERY:
            self._complained = time.monotonic()
            LOG.error("requests are not recorded in %s: %s", self._folder, error.strerror)
