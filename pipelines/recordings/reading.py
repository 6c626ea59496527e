"""The recorded requests of one endpoint: read, counted, forgotten."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypedDict

from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import translate_os_errors
from tidegate.pipelines.recordings.places import folder_of, key_of
from tidegate.pipelines.state.home import Home
from tidegate.serving.errors import RecordingError
from tidegate.serving.recording.cipher import Cipher, forms_of
from tidegate.serving.recording.segments import (
    Marks,
    has_value,
    locked,
    names_in,
    publish,
    remove_unfinished,
)

REQUEST = "request"  # the column that every row has beside the inputs: the request's id


class Row(TypedDict):
    """A recorded row.

    Attributes:
        time: when it was answered, s since the epoch.
        release: that answered it.
        request: the id of the request; `number` is the row's place in it, from 0.
        row: the inputs by name, as they may be asked again, without those that are dropped.
        answer: as `/predict` answers it.
    """

    time: float
    release: int | None
    request: str
    number: int
    row: dict[str, Any]
    answer: Any


class Recordings:
    """What an endpoint recorded.

    Args:
        home: of the endpoint.
        endpoint: its name.

    Attributes:
        unreadable: why each segment that `newest` left out cannot be read, by its name.
    """

    def __init__(self, home: Home, endpoint: str) -> None:
        self._folder, self._key = folder_of(home, endpoint), key_of(home)
        self.unreadable: dict[str, str] = {}
        self._cipher: Cipher | None = None

    def newest(self) -> Iterator[Row]:
        """All rows, those of the newest segment first, and within a segment the newest first.

        A segment that cannot be read, or of which the key is gone, is left out and stands in `unreadable`.
        """
        for name in reversed(names_in(self._folder)):
            try:
                rows = self._rows(name)
            except RecordingError as error:
                self.unreadable[name] = str(error)
                continue
            yield from reversed(rows)

    @property
    def left_out(self) -> str:
        """What `newest` left out, a sentence; "" where that is nothing."""
        if not self.unreadable:
            return ""
        count, first = len(self.unreadable), next(iter(self.unreadable.values()))
        told = "1 segment of recorded rows" if count == 1 else f"{count:,} segments of recorded rows"
        return (
            f"{told} cannot be read and left out, {'because' if count == 1 else 'the first because'} {first}"
        )

    def oldest(self) -> Iterator[Row]:
        """All rows, those of the oldest segment first.

        Raises:
            RecordingError: the key or a segment cannot be read.
        """
        for name in names_in(self._folder):
            yield from self._rows(name)

    def has_column(self, column: str) -> bool:
        """Whether a row has this input, also one that the live release does not have any more."""
        return any(column in row["row"] for row in self.newest())

    def counts(self) -> Counter[tuple[str, int | None]]:
        """How many rows there are, by day (UTC) and release."""
        found: Counter[tuple[str, int | None]] = Counter()
        for row in self.newest():
            found[datetime.fromtimestamp(row["time"], UTC).date().isoformat(), row["release"]] += 1
        return found

    def bytes_on_disk(self) -> int:
        """Of all segments."""
        paths = [self._folder / name for name in names_in(self._folder)]
        return sum(path.stat().st_size for path in paths if path.exists())

    def forget(self, column: str, text: str) -> int:
        """Remove the rows that have a value in a column; a running server writes none of them either.

        Args:
            column: an input, or "request".
            text: the value; a number may be written in any way.

        Returns:
            How many rows were removed; those that a server has not written yet are not counted.

        Raises:
            RecordingError: segments cannot be read, which are named; all others are without such rows.
            InfraError: a segment cannot be written.
        """
        if not self._folder.is_dir():
            return 0
        cipher = self._opened()
        digests = [cipher.digest(column, form) for form in forms_of(text)]
        with translate_os_errors(InfraError, self._folder, "Writing"):
            with locked(self._folder):
                Marks.leave(self._folder, column, digests)
                remove_unfinished(self._folder)
            return self._rewrite_all(column, digests)

    def _rewrite_all(self, column: str, digests: list[str]) -> int:
        gone, left = 0, dict[str, str]()
        for name in names_in(self._folder):
            try:
                gone += self._rewrite(name, column, digests)
            except RecordingError as error:
                left[name] = str(error)
        if left:
            raise RecordingError(
                f"{gone:,} rows were removed, and of {', '.join(left)} in {self._folder} it is not known whether they "
                f"have such rows: {next(iter(left.values()))}"
            )
        return gone

    def _rewrite(self, name: str, column: str, digests: list[str]) -> int:
        with locked(self._folder):
            rows = self._rows(name)
            kept = [row for row in rows if not has_value(self._opened(), row, column, digests)]
            if len(kept) < len(rows):
                lines = [json.dumps(row).encode() for row in kept]
                publish(self._folder, name, self._opened().seal(self._folder, name, lines))
            return len(rows) - len(kept)

    def _rows(self, name: str) -> list[Row]:
        path = self._folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # it has become too old meanwhile
            return []
        except OSError as error:
            raise RecordingError(
                f"{path} cannot be read ({error.strerror}); expected a readable file; correct its mode"
            ) from error
        return [json.loads(line) for line in self._opened().open(self._folder, name, content)]

    def _opened(self) -> Cipher:
        if self._cipher is None:
            self._cipher = Cipher.read(self._key)
        return self._cipher
