"""Prepare data that does not fit into memory: the source is read twice, one chunk at a time.

The first pass finds the columns (`preprocessing.column_scan`): dtypes and the number of rows from all rows, kinds from
the first thousand. In the second pass a number from each row's content and the seed assigns it to a split, as in
`preprocessing.splitting.splits`: held-out rows, whose number is limited so that later steps can hold them in memory,
or training rows, which are written to shards (`data.shards`) while the transforms are fitted on them.

A fraction with more rows than the limit is halved until it fits, and what it loses is training rows. So a test row of
streamed data is one of the same data held in memory, and one of less data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, concat, rows_of, take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.data.shards import ShardWriter, bytes_of
from tidegate.models.datasets import chunks
from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.column_scan import ColumnScan
from tidegate.models.preprocessing.encoder_fitting import CHUNK, in_parts
from tidegate.models.preprocessing.image_scales import tell_image_scales
from tidegate.models.preprocessing.kinds import check_dates
from tidegate.models.preprocessing.prepare import (
    SPLIT,
    Prepared,
    conformed,
    known_kinds,
    read_options,
    whole_fingerprint,
    with_kind,
)
from tidegate.models.preprocessing.profile.column_checks import tell_about_columns
from tidegate.models.preprocessing.profile.column_lines import column_entries
from tidegate.models.preprocessing.profile.split_leaks import FirstRows
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.row_identity import (
    CopyCounter,
    content_digests,
    input_digests,
    share_of,
)
from tidegate.models.preprocessing.splitting.splits import ORDER, PARTS, check_fractions, fingerprint
from tidegate.models.preprocessing.summary import ColumnSummary
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.target.one_hot import TargetColumns
from tidegate.models.preprocessing.target.target_checks import tell_about_classes, tell_constant
from tidegate.models.preprocessing.target.target_columns import (
    check_kept,
    check_text_options,
    infinite_targets,
    parse_target,
    tell_infinite_targets,
    without_target,
)
from tidegate.models.preprocessing.transforms import Transforms, TransformsFitter

TASKS = ("classification", "regression")
HELD_OUT_ROWS = 10_000  # of validation and of test each: the standard error of a share is then half a percent
SAMPLE_ROWS = 20_000  # training rows that drift is measured against
PART = 64  # each of these sets of rows may take 1 / PART of the memory
PIECE_BYTES = 8 << 20  # of rows whose float64 copy is in memory at once


@dataclass(frozen=True)
class StreamedData:
    """The data to prepare.

    Attributes:
        source, format, inputs, target, split, task, sample_rate, csv, missing: see `preprocessing.prepare.prepare`.
        memory: bytes that a step may use.
        folder: for temporary files.
        keep: moves a finished shard to its final place and returns a reference to it.
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
    csv: Mapping[str, Any] | None = None
    missing: str | None = None


def prepare_streamed(data: StreamedData) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    Each class has a training row, so that every class is learned.

    Raises:
        DataError: the data cannot be used as asked; the subclasses say why.
    """
    names, text_options, task = parse_target(data.target, data.task)
    check_text_options(names, text_options, task)
    chosen = {**SPLIT, **data.split}
    if task not in (None, *TASKS):
        raise SchemaError(
            f"the task is {task} and the data is streamed; expected {' or '.join(TASKS)}; set "
            "data.stream: false, and resources.memory for all rows"
        )
    if chosen["folds"] is not None:
        raise SplitError(
            f"data.split.folds is {chosen['folds']} and the data is streamed; expected rows that fit into memory; "
            "leave folds out, or set data.stream: false"
        )
    check_fractions(chosen["validation"], chosen["test"])
    with recorded() as told:
        scan = ColumnScan()
        options = read_options(data.inputs, data.target, task, data.csv)
        infinite = 0
        for part, targets, absent in _parts(data, names, task, options):
            infinite += infinite_targets(part, targets)
            scan.add(_with_target(part, absent), targets, int(absent.sum()))
        tell_infinite_targets(names, infinite, scan.rows + scan.dropped)
        check_kept(names, scan.rows, scan.dropped)
        kinds = known_kinds(None, data.source, data.format) | options.found
        schema = scan.schema(data.inputs, task, kinds, data.missing)
        splitter = _StreamSplitter(data, schema, scan, chosen)
        for part, _, absent in _parts(data, names, task, options):
            rows = conformed(schema, scan.cast(_with_target(part, absent)))
            for field in schema.inputs:
                if field.format is not None:
                    check_dates(field.name, rows[field.name], field.format)
            splitter.add(rows)
        prepared = splitter.prepared(scan.dropped)
        if schema.target.task == "classification":
            counts = list(prepared.summary["classes"].values())
            rows_by_class = [sum(count.values()) for count in counts]
            single = [place for place, count in enumerate(rows_by_class) if count == 1]
            first = _first_rows(data, names, task, options, schema, scan) if single else []
            tell_about_classes(
                schema.target.classes, rows_by_class, [count["test"] for count in counts], first
            )
        for name, figures in prepared.summary.get("target", {}).items():
            if figures["min"] == figures["max"]:
                tell_constant(name, figures["min"], scan.rows)
        splitter.first.tell_leaks(schema)
        tell_image_scales(schema, prepared.transforms)
        stated = with_kind(data.inputs)
        shared = tell_about_columns(schema, scan.profiles, prepared.splits["train"], stated)
        entries = column_entries(schema, scan.profiles, prepared.transforms, stated, told, shared)
    return replace(prepared, summary=prepared.summary | {"columns": entries, "warnings": told})


def _with_target(part: Columns, absent: NDArray[np.bool_]) -> Columns:
    return take(part, np.flatnonzero(~absent)) if absent.any() else part


def _first_rows(
    data: StreamedData,
    names: Sequence[str],
    task: str | None,
    options: ReadOptions,
    schema: Schema,
    scan: ColumnScan,
) -> list[int]:
    """The place in the source of the first row of each class, from 0; the source is read once more."""
    found, before = np.full(len(schema.target.classes), -1), 0
    for part, _, absent in _parts(data, names, task, options):
        kept = np.flatnonzero(~absent)
        places = encode_target(schema, conformed(schema, scan.cast(take(part, kept))))
        for place, at in zip(*np.unique(places, return_index=True), strict=True):
            found[place] = before + kept[at] if found[place] < 0 else found[place]
        before += rows_of(part)
    return found.tolist()


def _parts(
    data: StreamedData, names: Sequence[str], task: str | None, options: ReadOptions
) -> Iterator[tuple[Columns, list[str], NDArray[np.bool_]]]:
    """All rows, the names of the target columns, and which rows have no target; a few MiB at a time."""
    inputs = [entry["name"] for entry in data.inputs] if data.inputs is not None else None
    needed = None if inputs is None else list(dict.fromkeys([*inputs, *names]))
    reader = TargetColumns(names, task)
    for chunk in chunks(data.source, data.format, needed, data.sample_rate, options=options):
        columns, targets = reader.read(chunk)
        size = max(1, min(CHUNK, rows_of(columns) * PIECE_BYTES // max(1, bytes_of(columns))))
        for part in in_parts(columns, size):
            yield part, targets, without_target(part, targets)


class _StreamSplitter:
    """Assigns rows to the splits as they pass."""

    def __init__(
        self, data: StreamedData, schema: Schema, scan: ColumnScan, split: Mapping[str, Any]
    ) -> None:
        self._schema = schema
        fitting = int(data.memory / PART / max(1.0, scan.bytes_per_row()))
        held_out = max(1, min(HELD_OUT_ROWS, fitting))
        self._start = split[
            "test"
        ]  # of the validation rows' numbers, whatever part of the test fraction is used
        self._test = _fitting(split["test"], scan.rows, held_out)
        self._validation = _fitting(split["validation"], scan.rows, held_out)
        self._step = -(-scan.rows // max(1, min(SAMPLE_ROWS, fitting)))
        self._seed = split["seed"]
        self._copies = CopyCounter(scan.rows, data.memory // PART)
        self._learned = data.folder / "learned.u64"
        self._learned.write_bytes(b"")
        self._units: dict[str, list[Digests]] = {"validation": [], "test": []}
        self._writer, self._digest = ShardWriter(data.folder, data.keep), hashlib.sha256()
        self._fitter = TransformsFitter(schema)
        self.first = FirstRows(held_out)  # as many rows as a part may have
        self._rows = {"train": 0, "validation": 0, "test": 0}
        self._kept: dict[str, list[Columns]] = {name: [] for name in self._rows}
        self._counts = {name: np.zeros(len(schema.target.classes), np.int64) for name in self._rows}
        self._summaries = {field.name: ColumnSummary(field) for field in schema.inputs}
        if schema.target.task == "regression":
            self._summaries |= {name: ColumnSummary(None) for name in schema.target.names}

    def add(self, columns: Columns) -> None:
        """Assign more rows."""
        content = content_digests(self._schema, columns, input_digests(self._schema, columns))
        units = self._copies.units(content)
        shares = share_of(units, PARTS, self._seed)
        test = shares < self._test
        validation = (shares >= self._start) & (shares < self._start + self._validation)
        masks = {"test": test, "validation": validation, "train": ~(test | validation)}
        parts = {name: np.flatnonzero(chosen) for name, chosen in masks.items()}
        self.first.add(columns, parts)
        for name, rows in parts.items():
            self._add_part(name, take(columns, rows), units[rows])
        for name, summary in self._summaries.items():
            summary.add(columns[name])

    def _add_part(self, name: str, part: Columns, units: Digests) -> None:
        before = self._rows[name]
        self._rows[name] += rows_of(part)
        if self._schema.target.task == "classification":
            places = encode_target(self._schema, part)
            self._counts[name] += np.bincount(places, minlength=len(self._counts[name]))
        if name != "test":
            with self._learned.open("ab") as file:
                file.write(units.astype("<u8").tobytes())
        if name == "train":
            self._writer.add(part)
            self._digest.update(fingerprint(part).encode())
            self._fitter.add(part)
            part = take(part, np.flatnonzero((before + np.arange(rows_of(part))) % self._step == 0))
        else:
            self._units[name].append(units)
        self._kept[name].append(part)

    def _learn_every_class(self, splits: dict[str, Columns], units: dict[str, Digests]) -> None:
        """Move the held-out row with the highest number of each class without training rows into training."""
        for place in np.flatnonzero(self._counts["train"] == 0).tolist():
            for name in ("validation", "test"):
                own = np.flatnonzero(encode_target(self._schema, splits[name]) == place)
                if not len(own):
                    continue
                moved = (
                    units[name] == units[name][own[np.argmax(share_of(units[name][own], PARTS, self._seed))]]
                )
                self._add_part("train", take(splits[name], np.flatnonzero(moved)), units[name][moved])
                splits[name], units[name] = take(splits[name], np.flatnonzero(~moved)), units[name][~moved]
                self._rows[name] -= int(moved.sum())
                self._counts[name][place] -= int(moved.sum())
                break

    def prepared(self, dropped: int) -> Prepared:
        """The result, after all rows were added."""
        if not self._rows["test"] or not self._rows["train"]:
            raise SplitError(
                f"{sum(self._rows.values())} rows are too few for a test fraction of {self._test} of streamed data; "
                "expected at least one training row and one test row; set data.stream: false"
            )
        splits = {name: concat(parts) for name, parts in self._kept.items() if name != "train"}
        units = {name: np.concatenate(found) for name, found in self._units.items()}
        self._learn_every_class(splits, units)
        self._writer.close()
        for name in splits:
            late = np.argsort(share_of(units[name], ORDER, self._seed), kind="stable")
            splits[name], units[name] = take(splits[name], late), units[name][late]
        if not self._rows["test"]:
            raise SplitError(
                f"{sum(self._rows.values())} rows of {len(self._counts['test'])} classes leave no test row, because "
                "each class needs a training row; expected classes with several rows; join classes, or set data.task: "
                "regression if the target is a quantity"
            )
        splits = {"train": concat(self._kept["train"]), **splits}
        learned = np.memmap(self._learned, "<u8", "r")
        digests = {name: fingerprint(splits[name]) for name in ("validation", "test")}
        digests["train"] = self._digest.hexdigest()
        target = self._schema.target
        summary: dict[str, Any] = {
            "task": target.task,
            "rows": self._rows,
            "fields": {field.name: self._summaries[field.name].summary() for field in self._schema.inputs},
        }
        if target.task == "regression":
            summary["target"] = {name: self._summaries[name].summary() for name in target.names}
        else:
            summary["classes"] = {
                str(label): {name: int(counts[place]) for name, counts in self._counts.items()}
                for place, label in enumerate(target.classes)
            }
        summary |= {"dropped_rows": dropped, "fingerprints": digests, "shards": len(self._writer.kept)}
        transforms = Transforms(self._fitter.encoders())
        return Prepared(
            self._schema,
            transforms,
            splits,
            whole_fingerprint(digests),
            summary,
            learned,
            units["test"],
            self._writer.kept,
        )


def _fitting(fraction: float, rows: int, most: int) -> float:
    """The fraction, halved until it is no more than about `most` rows."""
    while fraction * rows > most:
        fraction /= 2
    return fraction
