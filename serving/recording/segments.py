"""Recorded rows on the disk: a folder for each endpoint, in which each segment appears as a whole.

A process that writes has one segment at a time and replaces it by one with more rows, until it is full. Whoever
publishes, rewrites or deletes a segment holds the folder's lock; readers need none.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate.serving.recording.cipher import Cipher, rows_in

SEGMENT_SECONDS = 600.0  # from the first row of a segment to its last
FORM = "%Y%m%dT%H%M%S.%fZ"
NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-[0-9a-f]{16}\.rec")
MARK = re.compile(r"forget-[0-9a-f]{16}\.json")
MARK_SECONDS = 86_400.0  # after which no process has rows any more that it took before
KEEP = "keep.json"
DAY = 86_400
PART = 96  # bytes in which a segment's number of rows is


def new_name(now: float) -> str:
    """The name of a segment whose first row is of this time (s, epoch); no other process makes the same one."""
    return f"{datetime.fromtimestamp(now, UTC).strftime(FORM)}-{secrets.token_hex(8)}.rec"


def began(name: str) -> float:
    """The time of a segment's first row, s since the epoch."""
    return datetime.strptime(name.partition("-")[0], FORM).replace(tzinfo=UTC).timestamp()


def names_in(folder: Path) -> list[str]:
    """The segments of an endpoint, the oldest first; none where nothing was ever recorded."""
    try:
        return sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []


def rows_of_day(folder: Path, now: float) -> int:
    """How many rows there are of the day (UTC) of this time."""
    day, rows = now // DAY, 0
    for name in names_in(folder):
        if began(name) // DAY == day:
            with contextlib.suppress(FileNotFoundError), (folder / name).open("rb") as file:
                rows += rows_in(file.read(PART))
    return rows


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel releases it when the holder ends. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def publish(folder: Path, name: str, content: bytes) -> None:
    """Put a whole file in place of the former one, or none; raises OSError. The caller holds the lock."""
    temp = folder / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"
    try:
        with os.fdopen(
            os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(folder / name)
    finally:
        temp.unlink(missing_ok=True)
    _sync(folder)


def expire(folder: Path, keep: float, now: float) -> list[int]:
    """Delete segments all of whose rows are older than `keep` seconds, and marks that nobody needs.

    The caller holds the lock.

    Returns:
        The bytes of each segment that was deleted.
    """
    old = [folder / name for name in names_in(folder) if began(name) + SEGMENT_SECONDS < now - keep]
    sizes = [path.stat().st_size for path in old]
    marks = [path for path in folder.glob("forget-*.json") if path.stat().st_mtime < now - MARK_SECONDS]
    for path in [*old, *marks]:
        path.unlink(missing_ok=True)
    remove_unfinished(folder)
    _sync(folder)
    return sizes


def remove_unfinished(folder: Path) -> None:
    """Delete what a server had half written when it was killed; the caller holds the lock, so nobody writes now."""
    for path in folder.glob(".tmp-*"):
        path.unlink(missing_ok=True)


def keep_for(folder: Path, seconds: int) -> None:
    """Note how long rows stay, for whoever deletes old ones when no server does; the caller holds the lock."""
    if kept_for(folder) != seconds:
        publish(folder, KEEP, json.dumps({"seconds": seconds}).encode())


def kept_for(folder: Path) -> int | None:
    """How long rows stay, in seconds, as the release said that began to record last; None: nothing was recorded."""
    try:
        return int(json.loads((folder / KEEP).read_bytes())["seconds"])
    except FileNotFoundError:
        return None


def _sync(folder: Path) -> None:
    """Make the folder's names survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Marks:
    """What is to be forgotten, for processes that have such rows in memory: values in a form that does not show them.

    Args:
        folder: of the endpoint.
        cipher: whose digests they are.
    """

    def __init__(self, folder: Path, cipher: Cipher) -> None:
        self._folder, self._cipher = folder, cipher
        self._known: dict[str, dict[str, Any]] = {}

    @staticmethod
    def leave(folder: Path, column: str, digests: list[str]) -> float:
        """Leave a mark: rows taken until now, whose `column` has one of these digests, are not to be written.

        Returns:
            Until when, s since the epoch. The caller holds the lock.
        """
        now = time.time()
        content = json.dumps({"column": column, "digests": digests, "before": now}).encode()
        publish(folder, f"forget-{secrets.token_hex(8)}.json", content)
        return now

    def kept(self, lines: list[bytes]) -> list[bytes]:
        """The rows that may be written; the caller holds the lock."""
        self._read()
        if not self._known:
            return lines
        rows = [(line, json.loads(line)) for line in lines]
        return [line for line, row in rows if not any(self._fits(row, mark) for mark in self._known.values())]

    def _read(self) -> None:
        names = {path.name for path in self._folder.iterdir() if MARK.fullmatch(path.name)}
        self._known = {name: mark for name, mark in self._known.items() if name in names}
        for name in names - self._known.keys():
            self._known[name] = json.loads((self._folder / name).read_bytes())

    def _fits(self, row: dict[str, Any], mark: dict[str, Any]) -> bool:
        return row["time"] <= mark["before"] and has_value(self._cipher, row, mark["column"], mark["digests"])


def has_value(cipher: Cipher, row: Mapping[str, Any], column: str, digests: list[str]) -> bool:
    """Whether a recorded row has a value with one of these digests in a column; `request` is the request's id."""
    found = row["row"]
    value = found[column] if column in found else row["request"] if column == "request" else None
    return value is not None and not cipher.digests_of(column, value).isdisjoint(digests)
