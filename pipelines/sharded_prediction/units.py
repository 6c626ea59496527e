"""What of the input is cut and what is not: a table is cut between its chunks; files that are rows go in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tidegate.models.data.sources import TEXT_SUFFIXES, format_of_name
from tidegate.models.readers.image_folder import SUFFIXES
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.sharded_prediction.document import InputFile

TABLES = ("csv", "parquet", "jsonl", "npz", "tfrecord")
OTHERS = (".json", ".npy")


@dataclass(frozen=True)
class Unit:
    """A table, or as many images or texts as a chunk has rows."""

    files: tuple[InputFile, ...]
    are_rows: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(max(1, file.size) for file in self.files)


def units_of(files: Sequence[InputFile], inputs: Sequence[dict[str, Any]], size: int) -> list[Unit]:
    """The units of all files, in their order.

    Args:
        files: all inputs.
        inputs: the contract's.
        size: rows in a chunk.

    Raises:
        UsageError: a file has no known format, or tables and files that are rows are mixed.
    """
    rows = [_is_row(file, inputs) for file in files]
    if all(rows):
        groups = (tuple(files[start : start + size]) for start in range(0, len(files), size))
        return [Unit(group, True) for group in groups]
    for file, is_row in zip(files, rows, strict=True):
        if is_row:
            raise UsageError(
                f"--input: {file.path} is one row and {files[rows.index(False)].path} is a table; expected either "
                "tables, or images or texts; predict them one after the other"
            )
        _check_table(file)
    return [Unit((file,), False) for file in files]


def _is_row(file: InputFile, inputs: Sequence[dict[str, Any]]) -> bool:
    suffix = PurePosixPath(file.path).suffix.lower()
    one_text = len(inputs) == 1 and inputs[0]["kind"] == "text"
    return suffix in SUFFIXES or (one_text and suffix in TEXT_SUFFIXES)


def _check_table(file: InputFile) -> None:
    name = PurePosixPath(file.path).name
    if format_of_name(name) not in TABLES and Path(name).suffix.lower() not in OTHERS:
        ends = ", ".join(
            f".{known}" for known in ("csv", "parquet", "jsonl", "json", "npz", "npy", "tfrecord")
        )
        raise UsageError(
            f"--input {file.path}: the format is unknown; expected a name ending in {ends}, or an image; name the "
            "files by a pattern such as *.parquet"
        )
