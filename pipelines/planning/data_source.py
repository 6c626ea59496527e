"""Where an experiment's data comes from: a built-in dataset, a file or folder of this machine, or S3.

Where the data is decides which class of `Source` it is, in `source_of` and nowhere else.
"""

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
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.planning.s3_source import SCHEME, S3Source


class Source(Protocol):
    """What a plan asks about data, and `prepare` then reads.

    Every method may raise ExperimentError, ModelsError or StoreError: the data is not there, or can not be read.
    """

    def digest(self) -> str:
        """SHA-256 (hex) that stands for the content of the data."""

    def format(self) -> str | None:
        """The format that is stated, or told by the source; None of a built-in, which has none."""

    def size(self) -> int:
        """About how many bytes the rows take in memory; 0 of a built-in, which fits."""

    def fetch(self, folder: Path, expected: str | None) -> Path | None:
        """The data as a path of this machine; None of a built-in, which the readers find by its name.

        Args:
            folder: of the caller's own, where a copy goes if one is needed.
            expected: the digest that the plan saw; what is copied must still have it.
        """


@dataclass(frozen=True)
class BuiltIn:
    """A dataset that comes with the program."""

    name: str | None
    stated: str | None

    def digest(self) -> str:
        """Of its files, wherever they lie."""
        return source_digest(dataset=self.name)

    def format(self) -> str | None:
        """What is stated, if anything."""
        return self.stated

    def size(self) -> int:
        """It fits."""
        return 0

    def fetch(self, folder: Path, expected: str | None) -> None:
        """Nothing: it is found by its name."""
        del folder, expected


@dataclass(frozen=True)
class Local:
    """A file, a folder, or a pattern of files of this machine."""

    path: str
    stated: str | None

    def digest(self) -> str:
        """Of what the files hold, and of their names below the folder."""
        return source_digest(source=self.path)

    def format(self) -> str:
        """Told by the suffix, or by what the folder holds."""
        return self.stated or guess_format(existing(self.path))

    def size(self) -> int:
        """From the sizes of the files."""
        return bytes_in_memory(file_sizes(existing(self.path)), self.format())

    def fetch(self, folder: Path, expected: str | None) -> Path:
        """Where it is: nothing is copied, and the readers say what is wrong with it."""
        del folder, expected
        return Path(self.path)


def source_of(data: Data, endpoint: str | None = None) -> Source:
    """The source that an experiment names.

    Args:
        data: its paths absolute.
        endpoint: of S3; default: where boto3 and $TIDEGATE_S3_ENDPOINT say.

    Raises:
        ExperimentError: it lies where nobody can read it.
    """
    source = data.source
    if source is None:
        return BuiltIn(data.dataset, data.format)
    if source.startswith(SCHEME):
        return S3Source(source, data.format, endpoint)
    if "://" in source:
        raise ExperimentError(
            f"data.source: {source}: expected a file or folder of this machine, or s3://BUCKET/KEY; "
            "copy the data here and give its path"
        )
    return Local(source, data.format)


def check_source(data: Data, endpoint: str | None = None) -> None:
    """Refuse a source that no reader could read; S3 is asked only when the name does not tell the format.

    Raises:
        ExperimentError, ModelsError: naming what was received and what was expected.
    """
    if data.format is not None:
        check_format(data.format)
    else:
        source_of(data, endpoint).format()
