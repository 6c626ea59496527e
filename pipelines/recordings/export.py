"""Recorded rows as a file for other tools: .parquet or .jsonl, complete or not at all."""

import json
import os
import tempfile
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
JSON = "json"  # of a column whose values have no type of the file's
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

    A line of a .jsonl is a row as it is kept. A .parquet has the inputs by name, arrays and lists as JSON texts, so too
    all values of an input of which one is no text of Unicode (half a surrogate pair) or beyond an int64, and
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
                count = WRITERS[kind](iter(rows), file, output.parent)
                file.flush()
                os.fsync(file.fileno())
            publish(temp, output)
        finally:
            temp.unlink(missing_ok=True)
    return count


def _jsonl(rows: Iterator[Row], file: IO[bytes], folder: Path) -> int:
    del folder  # it needs no other file
    count = 0
    for row in rows:
        file.write(strict_json(row).encode() + b"\n")
        count += 1
    return count


def _parquet(rows: Iterator[Row], file: IO[bytes], folder: Path) -> int:
    """In two passes, so that no more than `CHUNK` rows are in memory: the first learns the columns' types.

    Rows come and go meanwhile, so the second pass reads what the first one kept in a file without a name, which goes
    with this process.
    """
    import pyarrow
    import pyarrow.parquet

    with tempfile.TemporaryFile(dir=folder) as kept:
        kinds = dict[str, set[Any]]()
        for row in rows:
            for name, value in row["row"].items():
                kinds.setdefault(name, set()).add(_kind(value))
            kept.write(json.dumps(row).encode() + b"\n")
        taken = sorted({*kinds} & {*BESIDE})
        if taken:
            raise UsageError(
                f"an input is called {taken[0]}, as a column that the .parquet has anyway; export a .jsonl"
            )
        kept.seek(0)
        schema = _schema({name: found - {None} for name, found in kinds.items()})
        count = 0
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for lines in iter(lambda: list(islice(kept, CHUNK)), []):
                writer.write_table(_table([json.loads(line) for line in lines], kinds, schema))
                count += len(lines)
    return count


def _kind(value: Any) -> Any:
    """Of a value: its type; None of none; `JSON` where the file has no type for it."""
    if isinstance(value, str) and not _is_unicode(value):
        return JSON  # half a surrogate pair
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        return JSON
    return None if value is None else type(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _schema(kinds: dict[str, set[Any]]) -> Any:
    import pyarrow

    text, whole = pyarrow.string(), pyarrow.int64()
    beside = (pyarrow.timestamp("us", "UTC"), whole, text, whole, text)
    columns = [(name, pyarrow.type_for_alias(_type(found))) for name, found in kinds.items()]
    return pyarrow.schema([*columns, *zip(BESIDE, beside, strict=True)])


def _type(kinds: set[Any]) -> str:
    """Of a column: single values of one type have it, whole numbers and others become others, all else texts."""
    for name, known in (("int64", {int}), ("double", {int, float}), ("bool", {bool})):
        if kinds and kinds <= known:
            return name
    return "string"


def _table(rows: list[Row], kinds: dict[str, set[Any]], schema: Any) -> Any:
    import pyarrow

    beside = {
        "recorded_time": [int(row["time"] * 1e6) for row in rows],
        "recorded_answer": [json.dumps(row["answer"]) for row in rows],
        **{f"recorded_{name}": [row[name] for row in rows] for name in ("release", "request", "number")},
    }
    values = {name: _column([row["row"].get(name) for row in rows], kinds[name]) for name in kinds} | beside
    return pyarrow.table([pyarrow.array(values[field.name], field.type) for field in schema], schema=schema)


def _column(values: list[Any], kinds: set[Any]) -> list[Any]:
    """As the column's type takes them: arrays and lists as JSON texts, and where one value needs it all others too."""
    known = kinds - {None}
    if JSON in known:
        return [None if value is None else json.dumps(value) for value in values]
    if _type(known) != "string":
        return [float(value) if float in known and value is not None else value for value in values]
    return [_text(value) for value in values]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


WRITERS: dict[str, Callable[[Iterator[Row], IO[bytes], Path], int]] = {"jsonl": _jsonl, "parquet": _parquet}
