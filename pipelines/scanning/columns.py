"""The columns of a data file, by its header alone."""

import csv
import gzip
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tidegate.pipelines.scanning.files import Source

# What a column to predict is often called, the most telling first.
TARGETS = (
    *(
        "target",
        "label",
        "labels",
        "class",
        "y",
        "outcome",
        "churned",
        "churn",
        "price",
        "rating",
        "score",
        "result",
    ),
)
TIMES = ("timestamp", "date")
MOST_HEADER = 100_000  # characters


def columns_of(source: Source) -> dict[str, str]:
    """Its columns in their order, and the type where the file states one; {} where the header cannot be read."""
    readers = {"csv": _csv, "jsonl": _jsonl, "npz": _npz, "parquet": _parquet}
    try:
        return readers[source.format](source.example) if source.format in readers else {}
    except (OSError, ValueError, ImportError, zipfile.BadZipFile, csv.Error, StopIteration):
        return {}


def target_among(columns: Iterable[str], named: Iterable[str] = ()) -> list[str]:
    """Columns that may be the one to predict, the most likely first.

    Args:
        columns: all.
        named: what the project's code takes for it.
    """
    known = list(columns)
    by_code = [name for name in named if name in known]
    lower = {name.lower(): name for name in known}
    by_name = [lower[name] for name in TARGETS if name in lower]
    return list(dict.fromkeys([*by_code, *by_name, *known[-1:]]))


def times_among(columns: dict[str, str]) -> list[str]:
    """Columns of a time, by type or name."""
    return [
        name
        for name, kind in columns.items()
        if kind.startswith(TIMES) or any(part in TIMES for part in name.lower().split("_"))
    ]


def _first_line(file: Path) -> str:
    with (
        gzip.open(file, "rt", encoding="utf-8-sig")
        if file.suffix == ".gz"
        else file.open(encoding="utf-8-sig")
    ) as stream:
        return str(stream.readline(MOST_HEADER))


def _csv(file: Path) -> dict[str, str]:
    line = _first_line(file)
    delimiter = max(",;\t|", key=line.count)
    return {name.strip(): "" for name in next(csv.reader([line], delimiter=delimiter)) if name.strip()}


def _jsonl(file: Path) -> dict[str, str]:
    row = json.loads(_first_line(file))
    return dict.fromkeys(row, "") if isinstance(row, dict) else {}


def _npz(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as archive:
        return {name.removesuffix(".npy"): "" for name in archive.namelist()}


def _parquet(file: Path) -> dict[str, str]:
    import pyarrow.parquet

    return {field.name: str(field.type) for field in pyarrow.parquet.read_schema(file)}
