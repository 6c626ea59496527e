"""Where an experiment's data comes from: a built-in dataset, a file or folder of this machine, or a bucket.

Only `source_of` decides, by where the data is, which class of `Source` reads it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tidegate.models.data.sources import (
    bytes_in_memory,
    check_format,
    existing,
    file_sizes,
    guess_format,
    source_digest,
)
from tidegate.pipelines.errors import ExperimentError, PipelineError
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.planning.bucket_source import FORMS, SCHEMES, BucketSource


class Source(Protocol):
    """The data of an experiment, as a plan describes it and `prepare` reads it.

    Every method may raise ExperimentError, ModelsError or StoreError: the data is missing or cannot be read.
    """

    def digest(self) -> str:
        """SHA-256 (hex) that identifies the content of the data."""

    def format(self) -> str | None:
        """The stated format, or else the detected one; None for a built-in dataset, which has none."""

    def size(self) -> int:
        """About how many bytes the rows take in memory; 0 for a built-in dataset, which always fits."""

    def fetch(self, folder: Path, expected: str | None) -> Path | None:
        """The data as a local path; None for a built-in dataset, which the readers find by its name.

        Args:
            folder: owned by the caller; a copy goes here if one is needed.
            expected: the digest in the plan; a copy must still have it.
        """

    def verify(self, expected: str | None) -> None:
        """Refuse data that was read where it lies and is no longer what was planned.

        Args:
            expected: the digest in the plan; None: there is none.

        Raises:
            PipelineError: it changed since then.
        """


@dataclass(frozen=True)
class BuiltIn:
    """A dataset that comes with the program."""

    name: str | None
    stated: str | None

    def digest(self) -> str:
        """The digest of its files, wherever they are."""
        return source_digest(dataset=self.name)

    def format(self) -> str | None:
        """The stated format, if any."""
        return self.stated

    def size(self) -> int:
        """0: it always fits."""
        return 0

    def fetch(self, folder: Path, expected: str | None) -> None:
        """None: the readers find it by its name."""
        del folder, expected

    def verify(self, expected: str | None) -> None:
        """Nothing: it does not change."""
        del expected


@dataclass(frozen=True)
class Local:
    """A file, a folder, or a pattern of files on this machine."""

    path: str
    stated: str | None
    option: str = "data.source"

    @property
    def _existing(self) -> Path:
        return existing(self.path, self.option)

    def digest(self) -> str:
        """The digest of the files' content and of their paths in the folder."""
        return source_digest(source=self._existing)

    def format(self) -> str:
        """The stated format, or else the one detected from the suffix or the folder's content."""
        return self.stated or guess_format(self._existing)

    def size(self) -> int:
        """Estimated from the sizes of the files."""
        return bytes_in_memory(file_sizes(self._existing), self.format())

    def fetch(self, folder: Path, expected: str | None) -> Path:
        """The path itself: nothing is copied, and the readers report what is wrong with it."""
        del folder, expected
        return Path(self.path)

    def verify(self, expected: str | None) -> None:
        """Read it again for its digest: a run's name, its cache and its signature stand for what was planned."""
        if expected is not None and self.digest() != expected:
            raise PipelineError(
                f"{self.option}: {self.path} changed since the run was planned, or while it was read; "
                "submit again when nothing writes there"
            )


@dataclass(frozen=True)
class Unread:
    """What no reader reads: a function of the user's gets its path, and only that knows how large its rows are."""

    source: Source

    def digest(self) -> str:
        """That of the files."""
        return self.source.digest()

    def format(self) -> None:
        """None: it has none."""

    def size(self) -> int:
        """0: not known."""
        return 0

    def fetch(self, folder: Path, expected: str | None) -> Path | None:
        """The path that the function gets."""
        return self.source.fetch(folder, expected)

    def verify(self, expected: str | None) -> None:
        """As the files are."""
        self.source.verify(expected)


class Nothing:
    """No source at all: a function of the user's knows where its rows are."""

    def format(self) -> None:
        """None: it has none."""

    def size(self) -> int:
        """0: not known."""
        return 0

    def digest(self) -> str:
        """The same always: the function and its options stand for the rows."""
        return ""

    def fetch(self, folder: Path, expected: str | None) -> None:
        """None."""
        del folder, expected

    def verify(self, expected: str | None) -> None:
        """Nothing: nobody knows what the function reads."""
        del expected


def no_endpoint(_url: str) -> None:
    """The server of every bucket is the one that its cloud's library finds."""


def source_of(data: Data, endpoint: Callable[[str], str | None] = no_endpoint) -> Source:
    """The source that an experiment names; see `sources_of`."""
    return sources_of(data, endpoint)[""]


def sources_of(data: Data, endpoint: Callable[[str], str | None] = no_endpoint) -> dict[str, Source]:
    """By part, the source of its rows; "" is that of all rows that no other source has.

    Args:
        data: its paths absolute.
        endpoint: gives the server of a bucket's URL, or None for its cloud's own.

    Raises:
        ExperimentError: the kind of URL is not supported.
    """
    first: dict[str, Source] = {"": Nothing() if data.load else BuiltIn(data.dataset, data.format)}
    found = {
        part: _source(path, f"data.split.{part}" if part else "data.source", data.format, endpoint)
        for part, path in data.paths.items()
    }
    return first | ({part: Unread(source) for part, source in found.items()} if data.load else found)


def verify_sources(data: Data, digests: Mapping[str, str | None]) -> None:
    """Refuse data on this machine that is no longer what was planned.

    Args:
        data: its paths absolute.
        digests: those in the plan, by part; a part that is not there is not looked at.

    Raises:
        PipelineError: it changed.
    """
    for part, source in sources_of(data).items():
        source.verify(digests.get(part))


def _source(path: str, option: str, stated: str | None, endpoint: Callable[[str], str | None]) -> Source:
    if path.startswith(SCHEMES):
        return BucketSource(path, stated, endpoint(path))
    if "://" in path:
        raise ExperimentError(
            f"{option} is {path}; expected a file or folder on this machine, or {FORMS}; "
            "copy the data here and give its path"
        )
    return Local(path, stated, option)


def check_source(data: Data, endpoint: Callable[[str], str | None] = no_endpoint) -> None:
    """Refuse a source that no reader can read; a bucket is listed only if the name does not show the format.

    Raises:
        ExperimentError, ModelsError: naming what was received and what was expected.
    """
    if data.format is not None:
        check_format(data.format)
        return
    for source in sources_of(data, endpoint).values():
        if data.load is None:
            source.format()
        else:
            source.digest()
