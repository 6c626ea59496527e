"""Recorded rows as a file for other tools: .parquet or .jsonl, complete or not at all."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import publish, temporary, translate_os_errors
from tidegate.infra.system.strict_json import strict_json
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.recordings.reading import Row

KINDS = {"jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}
CHUNK = 5000  # rows that are converted at once
BESIDE = tuple(f"recorded_{name}" for name in ("time", "release", "request", "number", "answer"))


def kind_of(output: Path) -> str:
    """The format that a file's suffix names.

    Raises:
        UsageError: it names none, or nothing can be written there.
    """
    kind = next((name for name, ends in KINDS.items() if output.suffix.lower() in ends), None)
    if kind is None:
        raise UsageError(
            f"--output {output}: its suffix names no format; expected .parquet or .jsonl; rename it"
        )
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"--output {output}: no file can be there; expected one in a folder that is there")
    return kind


def export(rows: Iterable[Row], output: Path, kind: str) -> int:
    """Write rows; return how many.

    A line of a .jsonl is a row as it is kept. A .parquet has the inputs by name, arrays and lists as JSON texts, and
    beside them `recorded_time` (UTC), `recorded_release`, `recorded_request`, `recorded_number` and `recorded_answer`,
    a JSON text.

    Args:
        rows: in any order.
        output: the file; replaced if it is there, and readable by its owner alone.
        kind: jsonl or parquet.

    Raises:
        InfraError: it cannot be written.
    """
    with translate_os_errors(InfraError, output, "Writing"):
        temp = temporary(output.parent)
        try:
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                count = WRITERS[kind](iter(rows), file)
                file.flush()
                os.fsync(file.fileno())
            publish(temp, output)
        finally:
            temp.unlink(missing_ok=True)
    return count


def _jsonl(rows: Iterator[Row], file: IO[bytes]) -> int:
    count = 0
    for row in rows:
        file.write(strict_json(row).encode() + b"\n")
        count += 1
    return count


def _parquet(rows: Iterator[Row], file: IO[bytes]) -> int:
    import pyarrow
    import pyarrow.parquet

    tables = [_table(chunk) for chunk in iter(lambda: list(islice(rows, CHUNK)), [])] or [_table([])]
    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    schema = pyarrow.schema(
        [
            (name, _common([one.field(name).type for one in tables if name in one.column_names]))
            for name in names
        ]
    )
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for table in tables:
            empty = pyarrow.nulls(len(table))
            columns = [table[name] if name in table.column_names else empty for name in names]
            writer.write_table(
                pyarrow.table(
                    [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema
                )
            )
    return sum(map(len, tables))


def _common(types: list[Any]) -> Any:
    """The type that holds a column's values in all chunks: a float for numbers, else a text."""
    import pyarrow

    known = list(dict.fromkeys(one for one in types if not pyarrow.types.is_null(one)))
    if len(known) < 2:
        return known[0] if known else pyarrow.string()
    return pyarrow.float64() if set(known) == {pyarrow.int64(), pyarrow.float64()} else pyarrow.string()


def _table(rows: list[Row]) -> Any:
    import pyarrow

    names = list(dict.fromkeys(name for row in rows for name in row["row"]))
    taken = sorted({*names} & {*BESIDE})
    if taken:
        raise UsageError(
            f"an input is called {taken[0]}, as a column that the .parquet has anyway; export a .jsonl"
        )
    times = [int(row["time"] * 1e6) for row in rows]
    beside = (
        pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
        pyarrow.array([row["release"] for row in rows], pyarrow.int64()),
        pyarrow.array([row["request"] for row in rows], pyarrow.string()),
        pyarrow.array([row["number"] for row in rows], pyarrow.int64()),
        pyarrow.array([json.dumps(row["answer"]) for row in rows], pyarrow.string()),
    )
    columns: dict[str, Any] = {name: _column([row["row"].get(name) for row in rows]) for name in names}
    return pyarrow.table(columns | dict(zip(BESIDE, beside, strict=True)))


def _column(values: list[Any]) -> Any:
    """Single values of one type as they are, of several types as texts; arrays and lists as JSON texts."""
    import pyarrow

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or kinds in ({str}, {bool}):
        return pyarrow.array(
            [float(value) if float in kinds and value is not None else value for value in values]
        )
    return pyarrow.array([_text(value) for value in values], pyarrow.string())


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


WRITERS: dict[str, Callable[[Iterator[Row], IO[bytes]], int]] = {"jsonl": _jsonl, "parquet": _parquet}
