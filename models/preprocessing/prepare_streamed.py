"""Prepare data that does not fit into memory: the source is read twice, one chunk at a time.

The first pass finds the columns (`preprocessing.column_scan`): dtypes and the number of rows from all rows, kinds from
the first thousand. In the second pass a number from each row's content and the seed assigns it to a split, as in
`preprocessing.splitting.splits`: held-out rows, whose number is limited so that later steps can hold them in memory,
or training rows, which are written to shards (`data.shards`) while the transforms are fitted on them.

A fraction with more rows than the limit is halved until it fits, and what it loses is training rows. So a test row of
streamed data is one of the same data held in memory, and one of less data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import OwnLoad, ReadOptions
from tidegate.models.data.shards import bytes_of
from tidegate.models.datasets import chunks
from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.column_scan import ColumnScan
from tidegate.models.preprocessing.encoding.encoder_fitting import CHUNK, in_parts
from tidegate.models.preprocessing.kinds import check_dates
from tidegate.models.preprocessing.prepare import Prepared, conformed
from tidegate.models.preprocessing.profile.column_checks import tell_about_columns
from tidegate.models.preprocessing.profile.column_lines import column_entries
from tidegate.models.preprocessing.profile.image_scales import tell_image_scales
from tidegate.models.preprocessing.reading import (
    columns_to_read,
    known_kinds,
    read_options,
    set_aside,
    with_kind,
)
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.rules import SplitRules
from tidegate.models.preprocessing.splitting.splits import check_fractions
from tidegate.models.preprocessing.splitting.stream_splitter import StreamSplitter
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
from tidegate.models.preprocessing.target.target_forms import TargetForms, outputs_of
from tidegate.models.preprocessing.weights import check_weights

TASKS = ("classification", "regression")
PIECE_BYTES = 8 << 20  # of rows whose float64 copy is in memory at once


@dataclass(frozen=True)
class StreamedData:
    """The data to prepare.

    Attributes:
        source, format, inputs, target, split, task, sample_rate, csv, missing, weight: see
            `preprocessing.prepare.prepare`.
        load: a function of the user's that gives the rows, in place of a reader of the source, which may then be None.
        memory: bytes that a step may use.
        folder: for temporary files.
        keep: moves a finished shard to its final place and returns a reference to it.
    """

    source: Path | None
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
    weight: str | None = None
    load: OwnLoad | None = None


def prepare_streamed(data: StreamedData) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    Each class has a training row, so that every class is learned.

    Raises:
        DataError: the data cannot be used as asked; the subclasses say why.
    """
    names, text_options, task = parse_target(data.target, data.task)
    check_text_options(names, text_options, task)
    rules = SplitRules.of(data.split)
    asides = rules.columns | ({"data.weight": data.weight} if data.weight else {})
    if task not in (None, *TASKS):
        raise SchemaError(
            f"the task is {task} and the data is streamed; expected {' or '.join(TASKS)}; set "
            "data.stream: false, and resources.memory for all rows"
        )
    _check_rules(rules)
    check_fractions(rules.validation, rules.test)
    with recorded() as told:
        scan = ColumnScan()
        options = read_options(data.inputs, data.target, task, data.csv, data.weight, data.load)
        infinite = 0
        inputs = data.inputs
        for part, targets, absent in _parts(data, names, task, options, asides):
            _, inputs = set_aside(part, data.inputs, targets, asides)
            infinite += infinite_targets(part, targets)
            scan.add(_with_target(part, absent), targets, int(absent.sum()))
        tell_infinite_targets(names, infinite, scan.rows + scan.dropped)
        check_kept(names, scan.rows, scan.dropped)
        kinds = known_kinds(None, data.source, data.format, data.load) | options.found
        schema = scan.schema(inputs, task, kinds, data.missing)
        splitter = StreamSplitter(data, schema, scan, rules)
        for part, _, absent in _parts(data, names, task, options, asides):
            every = scan.cast(_with_target(part, absent))
            stays = {name: every[name] for name in (rules.group, data.weight) if name is not None}
            rows = stays | conformed(schema, every)
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
        check_weights(data.weight, prepared.splits)
        splitter.first.tell_leaks(schema, rules.chosen)
        tell_image_scales(schema, prepared.transforms)
        stated = with_kind(data.inputs)
        shared = tell_about_columns(schema, scan.profiles, prepared.splits["train"], stated)
        entries = column_entries(schema, scan.profiles, prepared.transforms, stated, told, shared)
    return replace(prepared, summary=prepared.summary | {"columns": entries, "warnings": told})


def _check_rules(rules: SplitRules) -> None:
    """Refuse what needs all rows at once; raises SplitError."""
    held = {"folds": rules.folds, "time": rules.time, "column": rules.column, **rules.files}
    for key, value in held.items():
        if value is not None:
            raise SplitError(
                f"data.split.{key} is {value} and the data is streamed; expected rows that fit into memory; leave it "
                "out, or set data.stream: false and resources.memory for all rows"
            )


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
    for part, _, absent in _parts(data, names, task, options, {}):
        kept = np.flatnonzero(~absent)
        places = encode_target(schema, conformed(schema, scan.cast(take(part, kept))))
        for place, at in zip(*np.unique(places, return_index=True), strict=True):
            found[place] = before + kept[at] if found[place] < 0 else found[place]
        before += rows_of(part)
    return found.tolist()


def _parts(
    data: StreamedData,
    names: Sequence[str],
    task: str | None,
    options: ReadOptions,
    asides: Mapping[str, str],
) -> Iterator[tuple[Columns, list[str], NDArray[np.bool_]]]:
    """All rows, the names of the target columns, and which rows have no target; a few MiB at a time."""
    needed = columns_to_read(data.inputs, names, asides)
    reader, forms = TargetColumns(names, task), TargetForms(names, task, outputs_of(data.target))
    for chunk in chunks(data.source, data.format, needed, data.sample_rate, options=options):
        if not forms.is_plain(chunk):
            raise SchemaError(
                f"target {', '.join(names)} is no class and no number a row, and the data is streamed; expected one of "
                "these; set data.stream: false, and resources.memory for all rows"
            )
        columns, targets = reader.read(chunk)
        size = max(1, min(CHUNK, rows_of(columns) * PIECE_BYTES // max(1, bytes_of(columns))))
        for part in in_parts(columns, size):
            yield part, targets, without_target(part, targets)
