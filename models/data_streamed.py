"""Preparing rows that memory does not hold: the source is read twice, a chunk at a time.

First to find what the columns are: dtypes and the number of rows from all of them, kinds from the first thousand. Then
each row is dealt by a draw of its own from the seed: to the held-out rows, which are limited so that later steps hold
them in memory, or to the training rows, which go to shards (`models.shards`) while the transforms learn from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.columns import Array, Columns, as_strings, concat, missing, rows_between, rows_of, take
from models.data import (
    SPLIT,
    Prepared,
    check_kept,
    check_reading,
    conformed,
    known_kinds,
    spread_targets,
    target_of,
    whole_fingerprint,
    with_kinds,
    without_target,
)
from models.datasets import chunks
from models.errors import SchemaError, SplitError
from models.learners import CHUNK, in_parts
from models.schema import Field, Schema, infer_schema
from models.shards import ShardWriter, bytes_of
from models.splits import check_fractions, fingerprint
from models.transforms import Learning, Transforms, encode_target

TASKS = ("classification", "regression")
FIRST_ROWS, FIRST_BYTES = 1_000, 4 << 20  # which tell the kinds
MOST_CLASSES = 10_000
MOST_CATEGORIES = 100_000  # that the summary counts
HELD_OUT_ROWS = 10_000  # of validation and of test: a share is then known to half a percent (standard error)
SAMPLE_ROWS = 20_000  # training rows that drift is measured against
PART = 64  # of the memory: what the rows of each of these may take
PIECE_BYTES = 8 << 20  # whose float64 copy is held at once


@dataclass(frozen=True)
class Large:
    """What is to be prepared.

    Attributes:
        source, format, inputs, target, split, task, sample_rate: see `models.data.prepare`.
        memory: bytes that a step may use.
        folder: for temporary files.
        keep: takes a finished shard away and tells what it is called from then on.
    """

    source: Path
    format: str | None
    inputs: Sequence[Mapping[str, Any]] | None
    target: Sequence[str | Mapping[str, Any]]
    split: Mapping[str, Any]
    task: str | None
    sample_rate: int | None
    memory: int
    folder: Path
    keep: Callable[[Path], Any]


def prepare_streamed(large: Large) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    The first row of each class is learned from, so that no class stays unlearned.

    Raises:
        DataError: the data cannot be used as asked; its subclasses say in which way.
    """
    names, reading, task = target_of(large.target, large.task)
    check_reading(names, reading, task)
    chosen = {**SPLIT, **large.split}
    if task not in (None, *TASKS):
        raise SchemaError(
            f"the task is {task} and the data is streamed; expected {' or '.join(TASKS)}; state "
            "data.stream: false, and resources.memory for all rows"
        )
    if chosen["folds"] is not None:
        raise SplitError(
            f"data.split.folds is {chosen['folds']} and the data is streamed; expected rows that memory holds; leave "
            "folds out, or state data.stream: false"
        )
    check_fractions(chosen["validation"], chosen["test"])
    look = _Look()
    for columns, targets, dropped in _chunks(large, names):
        look.add(columns, targets, dropped)
    check_kept(names, look.rows, look.dropped)
    schema = look.schema(large.inputs, task, known_kinds(None, large.source, large.format))
    dealt = _Dealing(large, schema, look, chosen)
    for columns, _, _ in _chunks(large, names):
        dealt.add(conformed(schema, look.cast(columns)))
    return dealt.prepared(look.dropped)


def _chunks(large: Large, names: Sequence[str]) -> Iterator[tuple[Columns, list[str], int]]:
    """Rows with a target, the names of the target's columns, and how many rows were dropped; some MiB at a time."""
    asked = [entry["name"] for entry in large.inputs] if large.inputs is not None else None
    wanted = None if asked is None else list(dict.fromkeys([*asked, *names]))
    for chunk in chunks(large.source, large.format, wanted, large.sample_rate):
        columns, targets = spread_targets(chunk, names)
        size = max(1, min(CHUNK, rows_of(columns) * PIECE_BYTES // max(1, bytes_of(columns))))
        for part in in_parts(columns, size):
            absent = without_target(part, targets)
            yield take(part, np.flatnonzero(~absent)) if absent.any() else part, targets, int(absent.sum())


class _Look:
    """What the columns are."""

    def __init__(self) -> None:
        self.rows = self.dropped = 0
        self._targets: list[str] = []
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._first: list[Columns] = []
        self._values: dict[str, set[Any]] = {}

    def add(self, columns: Columns, targets: list[str], dropped: int) -> None:
        """See some rows."""
        self._targets, self.dropped = targets, self.dropped + dropped
        seen = sum(rows_of(part) for part in self._first)
        if seen < FIRST_ROWS and sum(bytes_of(part) for part in self._first) < FIRST_BYTES:
            part = rows_between(columns, 0, FIRST_ROWS - seen)
            fitting = max(1, rows_of(part) * FIRST_BYTES // max(1, bytes_of(part)))
            self._first.append({name: column[:fitting].copy() for name, column in part.items()})
        self.rows += rows_of(columns)
        for name, column in columns.items():
            self._dtypes[name] = _joined(self._dtypes.get(name, column.dtype), column.dtype)
        for name in targets:
            values = self._values.setdefault(name, set())
            if len(values) <= MOST_CLASSES:
                column = columns[name]
                present = column[~missing(column)]
                values.update(
                    set(present.tolist()) if column.dtype == object else np.unique(present).tolist()
                )

    def schema(
        self, inputs: Sequence[Mapping[str, Any]] | None, task: str | None, kinds: Mapping[str, str]
    ) -> Schema:
        """The contract; see `models.schema.infer_schema`."""
        columns = self.cast(concat(self._first)) if self.rows else {}
        for name, values in self._values.items():
            dtype = self._dtypes[name]
            numbers = [value for value in values if not isinstance(value, str)]
            texts = [value for value in values if isinstance(value, str)]
            listed = numbers if dtype.kind != "O" else [*texts, *as_strings(np.array(numbers)).tolist()]
            columns[name] = np.array(sorted(listed), dtype)
        found = infer_schema(columns, with_kinds(kinds, columns, inputs, self._targets), self._targets, task)
        if len(found.target.classes) > MOST_CLASSES:
            raise SchemaError(
                f"target {self._targets[0]!r} has more than {MOST_CLASSES} classes; expected fewer where the data is "
                "streamed; state data.task: regression, or data.stream: false"
            )
        return found

    def cast(self, columns: Columns) -> Columns:
        """Rows in the dtypes that hold all rows."""
        return {name: _cast(column, self._dtypes[name]) for name, column in columns.items()}

    def bytes_a_row(self) -> float:
        """About what a row takes as float32 numbers, or as it is where that is more."""
        first = concat(self._first)
        numbers = sum(4 * column.size for column in first.values() if column.dtype != object)
        return max(numbers, bytes_of(first)) / max(1, rows_of(first))


class _Dealing:
    """Deals rows to the splits."""

    def __init__(self, large: Large, schema: Schema, look: _Look, split: Mapping[str, Any]) -> None:
        self._schema = schema
        fitting = int(large.memory / PART / max(1.0, look.bytes_a_row()))
        held_out = max(1, min(HELD_OUT_ROWS, fitting))
        self._test = min(split["test"], held_out / look.rows)
        self._validation = min(split["validation"], held_out / look.rows)
        self._step = -(-look.rows // max(1, min(SAMPLE_ROWS, fitting)))
        self._generator = np.random.default_rng(split["seed"])
        self._writer, self._digest = ShardWriter(large.folder, large.keep), hashlib.sha256()
        self._learning = Learning(schema)
        self._seen = np.zeros(len(schema.target.classes), np.bool_)
        self._rows = {"train": 0, "validation": 0, "test": 0}
        self._kept: dict[str, list[Columns]] = {name: [] for name in self._rows}
        self._counts = {name: np.zeros(len(schema.target.classes), np.int64) for name in self._rows}
        self._told = {field.name: _Told(field) for field in schema.inputs}
        if schema.target.task == "regression":
            self._told |= {name: _Told(None) for name in schema.target.names}

    def add(self, columns: Columns) -> None:
        """Deal some rows."""
        draws = self._generator.random(rows_of(columns))
        places = None
        if self._schema.target.task == "classification":
            places = encode_target(self._schema, columns)
            found, first = np.unique(places, return_index=True)
            draws[first[~self._seen[found]]] = 1.0
            self._seen[found] = True
        held_out = self._test + self._validation
        for name, chosen in {
            "test": draws < self._test,
            "validation": (draws >= self._test) & (draws < held_out),
            "train": draws >= held_out,
        }.items():
            part = take(columns, np.flatnonzero(chosen))
            self._keep(name, part)
            if places is not None:
                self._counts[name] += np.bincount(places[chosen], minlength=len(self._seen))
        for name, told in self._told.items():
            told.add(columns[name])

    def _keep(self, name: str, part: Columns) -> None:
        before = self._rows[name]
        self._rows[name] += rows_of(part)
        if name == "train":
            self._writer.add(part)
            self._digest.update(fingerprint(part).encode())
            self._learning.add(part)
            part = take(part, np.flatnonzero((before + np.arange(rows_of(part))) % self._step == 0))
        self._kept[name].append(part)

    def prepared(self, dropped: int) -> Prepared:
        """All of it, once every row was dealt."""
        if not self._rows["test"] or not self._rows["train"]:
            raise SplitError(
                f"{sum(self._rows.values())} rows are too few for a test fraction of {self._test}, each row drawn by "
                "itself; expected at least one of training and of test; state data.stream: false"
            )
        self._writer.close()
        splits = {name: concat(parts) for name, parts in self._kept.items()}
        for name in ("validation", "test"):
            splits[name] = take(splits[name], self._generator.permutation(rows_of(splits[name])))
        digests = {name: fingerprint(splits[name]) for name in ("validation", "test")}
        digests["train"] = self._digest.hexdigest()
        target = self._schema.target
        summary: dict[str, Any] = {
            "task": target.task,
            "rows": self._rows,
            "fields": {field.name: self._told[field.name].summary() for field in self._schema.inputs},
        }
        if target.task == "regression":
            summary["target"] = {name: self._told[name].summary() for name in target.names}
        else:
            summary["classes"] = {
                str(label): {name: int(counts[place]) for name, counts in self._counts.items()}
                for place, label in enumerate(target.classes)
            }
        summary |= {"dropped_rows": dropped, "fingerprints": digests, "shards": len(self._writer.kept)}
        transforms = Transforms(self._learning.encoders())
        return Prepared(
            self._schema, transforms, splits, whole_fingerprint(digests), summary, self._writer.kept
        )


class _Told:
    """What people are told of a column."""

    def __init__(self, field: Field | None) -> None:
        self._field = field
        self._missing = self._count = 0
        self._least, self._most, self._sum = np.inf, -np.inf, 0.0
        self._values: set[str] = set()

    def add(self, column: Array) -> None:
        """See some rows."""
        self._missing += int(missing(column).sum())
        if column.dtype == object:
            texts = [value for value in column.tolist() if value is not None]
            self._count += len(texts)
            if self._field is not None and self._field.kind == "text":
                self._sum += sum(len(text.split()) for text in texts)
            elif len(self._values) < MOST_CATEGORIES:
                self._values.update(texts)
            return
        values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
        if values.size:
            self._count += values.size
            self._sum += float(values.sum(dtype=np.float64))
            self._least, self._most = (
                min(self._least, float(values.min())),
                max(self._most, float(values.max())),
            )

    def summary(self) -> dict[str, Any]:
        """What was seen; as `models.data.prepare` tells it of rows in memory."""
        mean = self._sum / self._count if self._count else None
        if self._field is None:
            return {"min": self._least, "max": self._most, "mean": mean}
        told: dict[str, Any] = {"kind": self._field.kind, "missing": self._missing}
        if self._field.kind == "categorical":
            return told | {"categories": len(self._values)}
        if self._field.kind == "text":
            return told | {"mean_words": round(mean or 0.0, 1)}
        if mean is None:
            return told | {"min": None, "max": None, "mean": None}
        return told | {"min": self._least, "max": self._most, "mean": mean}


def _joined(known: np.dtype[Any], found: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(object) if object in (known, found) else np.result_type(known, found)


def _cast(column: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "O":
        return as_strings(column) if column.ndim == 1 else column
    return column.astype(dtype, copy=False)
