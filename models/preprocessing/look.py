"""Look at data as `prepare` does, column by column, without splitting it: quick, and no column stops the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, concat, rows_between, rows_of, take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.datasets import chunks
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.prepare import conformed, prepare
from tidegate.models.preprocessing.profile.column_checks import tell_about_columns
from tidegate.models.preprocessing.profile.column_lines import column_entries, profiles_of
from tidegate.models.preprocessing.reading import (
    columns_to_read,
    known_kinds,
    read_options,
    set_aside,
    with_kind,
    with_kinds,
)
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.schema_inference import infer_field, infer_schema, with_nullable
from tidegate.models.preprocessing.splitting.rules import SplitRules
from tidegate.models.preprocessing.target.target_columns import (
    check_kept,
    infinite_targets,
    parse_target,
    tell_infinite_targets,
    without_target,
)
from tidegate.models.preprocessing.target.target_forms import TargetForms, outputs_of
from tidegate.models.preprocessing.transforms import Transforms

MOST_ROWS = 100_000  # that are looked at


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        columns: an entry a column, see `profile.column_lines`.
        warnings: sentences.
        rows: how many were looked at.
        dropped: how many rows without a target were left out.
    """

    columns: list[dict[str, Any]]
    warnings: list[str]
    rows: int
    dropped: int


def look(
    *,
    dataset: str | None = None,
    source: str | Path | None = None,
    format: str | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    target: Sequence[str | Mapping[str, Any]] | None = None,
    task: str | None = None,
    **others: Any,
) -> Look:
    """Look at the first MOST_ROWS rows; the arguments are those of `prepare`, and the target may be left out.

    Raises:
        DataError: the data cannot be read, or the target cannot be learned.
    """
    named, text_options, task = parse_target(target, task)
    whole = dataset is not None or others.get("transform") is not None
    if whole or text_options or task in ("generation", "detection"):
        prepared = prepare(
            dataset=dataset, source=source, format=format, inputs=inputs, target=target, task=task, **others
        )
        summary = prepared.summary
        rows = sum(summary["rows"].values())
        return Look(summary["columns"], summary["warnings"], rows, summary["dropped_rows"])
    with recorded() as told:
        weight = others.get("weight")
        asides = SplitRules.of(others.get("split") or {}).columns | (
            {"data.weight": weight} if weight else {}
        )
        options = replace(
            read_options(inputs, target, task, others.get("csv"), weight, others.get("load")), lenient=True
        )
        needed = columns_to_read(inputs, named, asides)
        parts = chunks(source, format, needed, others.get("sample_rate"), options=options)
        columns = _first_rows(parts)
        forms = TargetForms(named, task, outputs_of(target))
        columns = forms.read(columns) if named else columns
        names, task = forms.names, forms.task
        tell_infinite_targets(names, infinite_targets(columns, names), rows_of(columns))
        kept = np.flatnonzero(~without_target(columns, names)) if names else np.arange(rows_of(columns))
        dropped = rows_of(columns) - len(kept)
        check_kept(names, len(kept), dropped)
        columns = take(columns, kept) if dropped else columns
        _, inputs = set_aside(columns, inputs, names, asides)
        kinds = known_kinds(None, source, format, others.get("load")) | options.found
        stated = with_kinds(kinds, columns, inputs, names, others.get("missing"))
        by_user = [name for name in with_kind(stated) if name not in options.found]
        entries = _entries(columns, stated, by_user, forms, told)
    return Look(entries, told, rows_of(columns), dropped)


def _entries(
    columns: Columns,
    stated: Sequence[Mapping[str, Any]] | None,
    by_user: list[str],
    forms: TargetForms,
    told: list[str],
) -> list[dict[str, Any]]:
    names = forms.names
    wanted = stated if stated is not None else [{"name": name} for name in columns if name not in names]
    good, refused = [], {}
    for entry in wanted:
        try:
            infer_field(entry, columns)
            good.append(entry)
        except SchemaError as error:
            refused[entry["name"]] = str(error)
    schema = _schema(columns, good, forms)
    columns = conformed(schema, columns) | {name: columns[name] for name in refused if name in columns}
    profiles = profiles_of(columns)
    schema = with_nullable(schema, {name: found.missing > 0 for name, found in profiles.items()})
    shared = tell_about_columns(schema, profiles, columns, by_user)
    found = column_entries(schema, profiles, Transforms.fit(schema, columns), by_user, told, shared)
    for name, sentence in refused.items():
        figures = profiles[name].figures() if name in profiles else {}
        entry = {
            "name": name,
            "role": "input",
            "kind": "refused",
            "why": "",
            "distinct": None,
            "missing": None,
        }
        found.append(
            entry | {"range": None, "examples": []} | figures | {"model": "", "warnings": [sentence]}
        )
    order = {name: place for place, name in enumerate(columns)}
    return sorted(found, key=lambda entry: order.get(entry["name"], len(order)))


def _schema(columns: Columns, good: Sequence[Mapping[str, Any]], forms: TargetForms) -> Schema:
    if forms.names and good:
        return infer_schema(columns, good, forms.names, forms.task, known=forms.target(columns))
    fields = tuple(infer_field(entry, columns) for entry in good)
    return Schema(inputs=fields, target=Target(names=(), task="regression"))


def _first_rows(parts: Iterator[Columns]) -> Columns:
    read: list[Columns] = []
    for part in parts:
        read.append(part)
        if sum(rows_of(one) for one in read) >= MOST_ROWS:
            break
    return rows_between(concat(read), 0, MOST_ROWS)
