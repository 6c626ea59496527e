"""Preparing rows that memory does not hold: the source is read twice, a chunk at a time.

First to find what the columns are (`preprocessing.column_scan`): dtypes and the number of rows from all of them, kinds
from the first thousand. Then each row is dealt by a draw of its own from the seed: to the held-out rows, which are
limited so that later steps hold them in memory, or to the training rows, which go to shards (`data.shards`) while the
transforms learn from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, concat, rows_of, take
from tidegate.models.data.shards import ShardWriter, bytes_of
from tidegate.models.datasets import chunks
from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.column_scan import ColumnScan
from tidegate.models.preprocessing.encoder_fitting import CHUNK, in_parts
from tidegate.models.preprocessing.prepare import SPLIT, Prepared, conformed, known_kinds, whole_fingerprint
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splits import check_fractions, fingerprint
from tidegate.models.preprocessing.summary import ColumnSummary
from tidegate.models.preprocessing.targets import (
    check_kept,
    check_text_options,
    parse_target,
    split_array_targets,
    without_target,
)
from tidegate.models.preprocessing.transforms import Transforms, TransformsFitter, encode_target

TASKS = ("classification", "regression")
HELD_OUT_ROWS = 10_000  # of validation and of test: a share is then known to half a percent (standard error)
SAMPLE_ROWS = 20_000  # training rows that drift is measured against
PART = 64  # of the memory: what the rows of each of these may take
PIECE_BYTES = 8 << 20  # whose float64 copy is held at once


@dataclass(frozen=True)
class StreamedData:
    """What is to be prepared.

    Attributes:
        source, format, inputs, target, split, task, sample_rate: see `preprocessing.prepare.prepare`.
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


def prepare_streamed(large: StreamedData) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    The first row of each class is learned from, so that no class stays unlearned.

    Raises:
        DataError: the data cannot be used as asked; its subclasses say in which way.
    """
    names, reading, task = parse_target(large.target, large.task)
    check_text_options(names, reading, task)
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
    scan = ColumnScan()
    for columns, targets, dropped in _chunks(large, names):
        scan.add(columns, targets, dropped)
    check_kept(names, scan.rows, scan.dropped)
    schema = scan.schema(large.inputs, task, known_kinds(None, large.source, large.format))
    dealt = _StreamSplitter(large, schema, scan, chosen)
    for columns, _, _ in _chunks(large, names):
        dealt.add(conformed(schema, scan.cast(columns)))
    return dealt.prepared(scan.dropped)


def _chunks(large: StreamedData, names: Sequence[str]) -> Iterator[tuple[Columns, list[str], int]]:
    """Rows with a target, the names of the target's columns, and how many rows were dropped; some MiB at a time."""
    asked = [entry["name"] for entry in large.inputs] if large.inputs is not None else None
    wanted = None if asked is None else list(dict.fromkeys([*asked, *names]))
    for chunk in chunks(large.source, large.format, wanted, large.sample_rate):
        columns, targets = split_array_targets(chunk, names)
        size = max(1, min(CHUNK, rows_of(columns) * PIECE_BYTES // max(1, bytes_of(columns))))
        for part in in_parts(columns, size):
            absent = without_target(part, targets)
            yield take(part, np.flatnonzero(~absent)) if absent.any() else part, targets, int(absent.sum())


class _StreamSplitter:
    """Deals rows to the splits."""

    def __init__(
        self, large: StreamedData, schema: Schema, scan: ColumnScan, split: Mapping[str, Any]
    ) -> None:
        self._schema = schema
        fitting = int(large.memory / PART / max(1.0, scan.bytes_a_row()))
        held_out = max(1, min(HELD_OUT_ROWS, fitting))
        self._test = min(split["test"], held_out / scan.rows)
        self._validation = min(split["validation"], held_out / scan.rows)
        self._step = -(-scan.rows // max(1, min(SAMPLE_ROWS, fitting)))
        self._generator = np.random.default_rng(split["seed"])
        self._writer, self._digest = ShardWriter(large.folder, large.keep), hashlib.sha256()
        self._learning = TransformsFitter(schema)
        self._seen = np.zeros(len(schema.target.classes), np.bool_)
        self._rows = {"train": 0, "validation": 0, "test": 0}
        self._kept: dict[str, list[Columns]] = {name: [] for name in self._rows}
        self._counts = {name: np.zeros(len(schema.target.classes), np.int64) for name in self._rows}
        self._told = {field.name: ColumnSummary(field) for field in schema.inputs}
        if schema.target.task == "regression":
            self._told |= {name: ColumnSummary(None) for name in schema.target.names}

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
