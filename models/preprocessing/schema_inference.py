"""The schema from data: the kind of each column, and what the target is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from tidegate.models.data.box_column import parse_boxes
from tidegate.models.data.columns import Array, Columns, missing, rows_of, unknown_column
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.kinds import inferred_kind, stated_options, whole_dtype
from tidegate.models.preprocessing.schema import (
    KINDS,
    NUMBERS,
    STRING,
    Class,
    Field,
    Schema,
    Target,
    Task,
)
from tidegate.models.preprocessing.text_kinds import check_classes

SEVERAL_TARGETS = (
    "name one target of them for classes; state data.task: regression to learn true and false as 1 and 0"
)
MOST_INTEGER_CLASSES = 100  # an integer target with more distinct values means regression


def infer_schema(
    columns: Columns,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str],
    task: str | None,
    text_options: Mapping[str, Any] | None = None,
    counts: Mapping[str, tuple[int, int]] | None = None,
    known: Target | None = None,
) -> Schema:
    """Infer the schema from the data; `prepare` does it once.

    Kinds that are not stated: see `preprocessing.kinds.inferred_kind`. A task that is not stated: several
    target columns mean regression; strings, booleans and integers with at most 100 distinct values mean classification;
    else regression. Classes are sorted; integers stay int and "true"/"false" become bool.

    Args:
        columns: the raw rows.
        inputs: each `{"name", "kind" or None}` and options of the kind, see `Field`; None means all columns but the
            target.
        target: names of the target columns.
        task: of `schema.Task`, or None.
        text_options: of a text target: `tokens`, `length`, `vocabulary` and `prompt`, see `Target`.
        known: the target, where its form says all, see `target.target_forms`.
        counts: by column, its distinct values and its rows with a value, if `columns` are only some of the rows.

    Raises:
        SchemaError: no rows, an unknown column, a kind that does not fit, or fewer than two classes.
    """
    if rows_of(columns) == 0:
        raise SchemaError("the data has no rows; expected at least two; check the source and its filters")
    for name in target:
        if name not in columns:
            raise unknown_column(name, columns, "target")
    stated = [{"name": name} for name in columns if name not in target] if inputs is None else inputs
    _check_names([entry["name"] for entry in stated], columns, target)
    fields = tuple(_field(entry, columns[entry["name"]], counts or {}) for entry in stated)
    if known is not None:
        return Schema(inputs=fields, target=known)
    if task == "detection":
        return Schema(inputs=fields, target=_box_target(columns, tuple(target), fields))
    return Schema(
        inputs=fields, target=infer_target(columns, tuple(target), task, text_options or {}, counts or {})
    )


def _check_names(names: Sequence[str], columns: Columns, target: Sequence[str]) -> None:
    if not names:
        raise SchemaError("there are no inputs; expected at least one column besides the target; add one")
    for name in names:
        if name not in columns:
            raise unknown_column(name, columns, "input")
        if name in target:
            raise SchemaError(
                f"{name!r} is both input and target; expected only one; remove it from one of them"
            )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"input {twice!r} is listed twice; expected each column once; remove one")


def infer_field(entry: Mapping[str, Any], columns: Columns) -> Field:
    """One input's field, see `infer_schema`; raises SchemaError."""
    if entry["name"] not in columns:
        raise unknown_column(entry["name"], columns, "input")
    return _field(entry, columns[entry["name"]], {})


def _field(entry: Mapping[str, Any], column: Array, counts: Mapping[str, tuple[int, int]]) -> Field:
    name, shape = entry["name"], tuple(column.shape[1:])
    stated = entry.get("kind") or inferred_kind(name, column, counts.get(name))
    _check_kind(name, stated, column)
    kind = "numeric" if stated in NUMBERS else "text" if stated == STRING else stated
    options = stated_options(name, kind, entry, column)
    if stated == STRING:
        if options:
            raise SchemaError(
                f"input {name!r} has kind string and {', '.join(options)}; expected no options, because the model gets "
                "the strings as they are; leave them out, or set kind: text"
            )
        options = {"tokens": "whole"}
    texts = column.dtype == object or kind == "categorical"
    dtype = "str" if texts else whole_dtype(name, stated, column)
    return Field.model_validate({"name": name, "kind": kind, "dtype": dtype, "shape": shape, **options})


def with_nullable(schema: Schema, lacking: Mapping[str, bool]) -> Schema:
    """The schema, and which fields a request may leave out: those that rows of the data lack, or whose rule is stated.

    Args:
        schema: without that.
        lacking: whether rows of the data lack the value, by column.
    """
    fields = [
        field.model_copy(update={"nullable": field.missing is not None or lacking[field.name]})
        for field in schema.inputs
    ]
    return schema.model_copy(update={"inputs": tuple(fields)})


def _check_kind(name: str, kind: str, column: Array) -> None:
    if kind not in KINDS:
        raise SchemaError(
            f"input {name!r} has kind {kind!r}; expected one of {', '.join(KINDS)}; choose one of them"
        )
    numbers, dimensions = column.dtype != object, column.ndim
    number = (numbers, "numbers", "correct the cells that are not numbers, or set kind: categorical")
    fits, expected, fix = {
        "numeric": number,
        "number": number,
        "integer": number,
        "categorical": (dimensions == 1, "one value per row", "set kind: numeric"),
        "text": (not numbers, "strings", "set kind: categorical or numeric"),
        STRING: (not numbers, "strings", "set kind: categorical or numeric"),
        "image": (
            numbers and dimensions in (3, 4),
            "rows of shape (h, w) or (h, w, c)",
            "set kind: numeric",
        ),
        "sequence": (
            column.dtype.kind == "f" and dimensions in (2, 3),
            "float rows of shape (steps,) or (steps, features), padded with NaN at the end",
            "set kind: numeric",
        ),
        "id": (dimensions <= 2, "one id or one list of ids per row", "set kind: numeric"),
        "tokens": (not numbers, "a list of texts a row", "set kind: id or sequence for lists of numbers"),
        "ids": (not numbers, "a list of ids a row", "set kind: id for one id or lists of one length"),
        "date": (not numbers, "dates as text, such as 2025-01-31", "set kind: numeric"),
    }[kind]
    if not fits:
        raise SchemaError(
            f"input {name!r} has kind {kind} and holds {_example(column)}; expected {expected}; {fix}"
        )


def _example(column: Array) -> str:
    if column.ndim > 1:
        return f"rows of shape {tuple(column.shape[1:])}"
    values = column.tolist()
    if column.dtype != object:
        return f"numbers, such as {values[0]!r}"
    return f"strings, such as {next((v for v in values if v is not None and not _is_number(v)), values[0])!r}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def infer_target(
    columns: Columns,
    names: tuple[str, ...],
    task: str | None,
    text_options: Mapping[str, Any] = MappingProxyType({}),
    counts: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> Target:
    """The target of a class, a number or a text a row; the arguments are those of `infer_schema`.

    Raises:
        SchemaError: the columns do not fit the task.
    """
    if task not in (None, *get_args(Task)):
        raise SchemaError(
            f"task is {task!r}; expected one of {', '.join(get_args(Task))}; choose one of them"
        )
    if task == "generation":
        return _text_target(columns, names, text_options)
    chosen = task or (
        "classification" if len(names) == 1 and _is_classes(columns[names[0]]) else "regression"
    )
    if chosen == "regression":
        _check_quantities(columns, names)
        return Target(names=names, task="regression")
    if len(names) > 1:
        raise SchemaError(
            f"the task is classification and data.target is {', '.join(names)}; expected one column, or "
            "one-hot columns (in each row one 1 or true, all others 0 or false); name one"
        )
    classes = _classes(names[0], columns[names[0]])
    if columns[names[0]].dtype == object:
        texts = [value for value in columns[names[0]].tolist() if value is not None]
        check_classes(names[0], texts, *counts.get(names[0], (len(classes), len(texts))), task is not None)
    return Target(names=names, task="classification", classes=classes)


def _text_target(columns: Columns, names: tuple[str, ...], text_options: Mapping[str, Any]) -> Target:
    if len(names) > 1 or columns[names[0]].dtype != object:
        held = (
            ", ".join(names) if len(names) > 1 else f"{names[0]!r}, which holds {_example(columns[names[0]])}"
        )
        raise SchemaError(
            f"the task is generation and data.target is {held}; expected one column of texts; name one, or leave the "
            "task out"
        )
    return Target(names=names, task="generation", **text_options)


def _box_target(columns: Columns, names: tuple[str, ...], fields: tuple[Field, ...]) -> Target:
    if len(names) > 1:
        raise SchemaError(
            f"the task is detection and data.target is {', '.join(names)}; expected one column; name one"
        )
    images = [field for field in fields if field.kind == "image"]
    if len(images) != 1 or len(fields) != 1:
        held = ", ".join(f"{field.name} ({field.kind})" for field in fields)
        raise SchemaError(
            f"the task is detection and the inputs are {held}; expected one input, an image; name the image's column "
            "in data.inputs"
        )
    cells = parse_boxes(names[0], columns[names[0]], images[0].shape)
    labels = {label for cell in cells for label in cell.labels}
    if not labels:
        raise SchemaError(
            f"target {names[0]!r} has no box in any of {rows_of(columns)} rows; expected at least one; check the source"
        )
    return Target(names=names, task="detection", classes=tuple(sorted(labels)))


def _is_classes(column: Array) -> bool:
    if column.ndim > 1 or column.dtype == object or column.dtype.kind == "b":
        return True
    distinct = np.unique(column[~missing(column)])
    return len(distinct) <= MOST_INTEGER_CLASSES and bool((distinct == np.floor(distinct)).all())


def _classes(name: str, column: Array) -> tuple[Class, ...]:
    if column.ndim > 1:
        raise SchemaError(
            f"target {name!r} holds {_example(column)}; expected one class per row; "
            "turn one-hot rows into class numbers"
        )
    values = set(column[~missing(column)].tolist())
    if len(values) > 1:
        return _strings(values) if column.dtype == object else _numbers(name, values)
    held = f"only the class {next(iter(values))!r}" if values else "no value"
    raise SchemaError(f"target {name!r} holds {held}; expected at least two classes; check target and source")


def _strings(values: set[str]) -> tuple[Class, ...]:
    if {value.lower() for value in values} == {"true", "false"}:
        return (False, True)
    return tuple(sorted(values))


def _numbers(name: str, values: set[float]) -> tuple[Class, ...]:
    odd = next((value for value in values if int(value) != value), None)
    if odd is not None:
        raise SchemaError(
            f"target {name!r} holds {odd!r}; expected classes that are texts, booleans or whole numbers; "
            "set task: regression, or round the target to classes"
        )
    return tuple(sorted(value if isinstance(value, bool) else int(value) for value in values))


def _check_quantities(columns: Columns, names: tuple[str, ...]) -> None:
    for name in names:
        if columns[name].dtype == object or columns[name].ndim > 1:
            raise SchemaError(
                f"target {name!r} holds {_example(columns[name])}; expected one number per row for a regression; "
                + ("correct the column, or set task: classification" if len(names) == 1 else SEVERAL_TARGETS)
            )
