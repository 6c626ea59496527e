"""What goes in and what comes out: names, kinds, dtypes, shapes and classes, fixed once in `prepare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from tidegate.models.data.box_column import parse_boxes
from tidegate.models.data.columns import Array, Columns, missing, rows_of, unknown_column
from tidegate.models.errors import SchemaError

Kind = Literal["numeric", "categorical", "text", "image", "sequence"]
Tokens = Literal["words", "characters"]
Task = Literal["classification", "regression", "generation", "detection"]
Class = bool | int | str

KINDS: tuple[str, ...] = get_args(Kind)
TEXT_OPTIONS = ("tokens", "length", "vocabulary")
MOST_INTEGER_CLASSES = 100  # a whole-number target with more distinct values is a quantity
TEXT_WORDS = 3.0  # strings of more words than this, on average, are text


class Field(BaseModel):
    """One input column; `dtype` is NumPy's name or "str", `shape` that of one row (() is one value).

    Of a sequence the first size of `shape` is the most steps a row may have, see `data.sequences`. `tokens`, `length`
    and `vocabulary` are how a text is read: what is counted, how many of them, and how many distinct ones are known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    tokens: Tokens | None = None
    length: int | None = None
    vocabulary: int | None = None

    @property
    def free_shape(self) -> tuple[int, ...]:
        """The shape of a row as a tensor: -1 where any size up to the stated one is taken."""
        return (-1, *self.shape[1:]) if self.kind == "sequence" else self.shape


class Target(BaseModel):
    """What is predicted; `classes` in the order of the model's outputs, empty for a regression and a text.

    Of a text (task `generation`): `tokens`, `length` and `vocabulary` as of a field, and `prompt`, the input that the
    text begins with; None where the text is made from the inputs, as a translation is. Of boxes (task `detection`)
    `classes` are their labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    task: Task
    classes: tuple[Class, ...] = ()
    tokens: Tokens | None = None
    length: int | None = None
    vocabulary: int | None = None
    prompt: str | None = None


class Schema(BaseModel):
    """The contract from training to endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Field, ...]
    target: Target


def infer_schema(
    columns: Columns,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str],
    task: str | None,
    reading: Mapping[str, Any] | None = None,
) -> Schema:
    """Read the contract off the data; used by `prepare`, once.

    Kinds that are not stated: strings of more than three words on average are text, other strings
    categorical; uint8 rows of shape (h, w) or (h, w, c) are images; all other numbers numeric.
    A task that is not stated: several target columns are a regression; strings, booleans and whole
    numbers of at most 100 distinct values are classes; else a regression. Classes are sorted; whole
    numbers stay int and "true"/"false" become bool.

    Args:
        columns: the raw rows.
        inputs: `{"name", "kind" or None}` each, and of a text `tokens`, `length` and `vocabulary`; None means all
            columns but the target.
        target: names of the target columns.
        task: "classification", "regression", "generation", "detection" or None.
        reading: of a target that is a text: `tokens`, `length`, `vocabulary` and `prompt`, see `Target`.

    Raises:
        SchemaError: no rows, an unknown column, a kind that does not fit, fewer than two classes.
    """
    if rows_of(columns) == 0:
        raise SchemaError("the data has no rows; expected at least two; check the source and its filters")
    for name in target:
        if name not in columns:
            raise unknown_column(name, columns, "target")
    wanted = [{"name": name} for name in columns if name not in target] if inputs is None else inputs
    _check_names([entry["name"] for entry in wanted], columns, target)
    fields = tuple(_field(entry, columns[entry["name"]]) for entry in wanted)
    if task == "detection":
        return Schema(inputs=fields, target=_box_target(columns, tuple(target), fields))
    return Schema(inputs=fields, target=_target(columns, tuple(target), task, reading or {}))


def _check_names(names: Sequence[str], columns: Columns, target: Sequence[str]) -> None:
    if not names:
        raise SchemaError("there are no inputs; expected at least one column besides the target")
    for name in names:
        if name not in columns:
            raise unknown_column(name, columns, "input")
        if name in target:
            raise SchemaError(f"{name!r} is both input and target; remove it from one of them")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SchemaError(f"input {twice!r} is listed twice; expected each column once; remove one")


def _field(entry: Mapping[str, Any], column: Array) -> Field:
    name, shape = entry["name"], tuple(column.shape[1:])
    chosen = entry.get("kind") or _kind_of(column)
    _check_kind(name, chosen, column)
    texts = column.dtype == object or chosen == "categorical"
    dtype = "str" if texts else str(column.dtype)
    reading = {key: entry[key] for key in TEXT_OPTIONS if entry.get(key) is not None}
    if reading and chosen != "text":
        raise SchemaError(
            f"input {name!r} is {chosen} and has {', '.join(reading)}; expected them of a text only; leave them out"
        )
    return Field.model_validate({"name": name, "kind": chosen, "dtype": dtype, "shape": shape, **reading})


def _kind_of(column: Array) -> str:
    if column.dtype == object:
        words = [len(text.split()) for text in column if text is not None]
        return "text" if words and sum(words) / len(words) > TEXT_WORDS else "categorical"
    return "image" if column.dtype == np.uint8 and column.ndim in (3, 4) else "numeric"


def _check_kind(name: str, kind: str, column: Array) -> None:
    if kind not in KINDS:
        raise SchemaError(f"input {name!r} has kind {kind!r}; expected one of {', '.join(KINDS)}")
    numbers, dimensions = column.dtype != object, column.ndim
    fits, expected, fix = {
        "numeric": (numbers, "numbers", "correct the cells that are not numbers, or state kind: categorical"),
        "categorical": (dimensions == 1, "one value a row", "state kind: numeric"),
        "text": (not numbers, "strings", "state kind: categorical or numeric"),
        "image": (
            numbers and dimensions in (3, 4),
            "rows of shape (h, w) or (h, w, c)",
            "state kind: numeric",
        ),
        "sequence": (
            column.dtype.kind == "f" and dimensions in (2, 3),
            "float rows of shape (steps,) or (steps, features), NaN behind the end of each",
            "state kind: numeric",
        ),
    }[kind]
    if not fits:
        raise SchemaError(
            f"input {name!r} is to be {kind} but holds {_example(column)}; expected {expected}; {fix}"
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


def _target(columns: Columns, names: tuple[str, ...], task: str | None, reading: Mapping[str, Any]) -> Target:
    if task not in (None, *get_args(Task)):
        raise SchemaError(f"task is {task!r}; expected one of {', '.join(get_args(Task))}")
    if task == "generation":
        return _text_target(columns, names, reading)
    chosen = task or (
        "classification" if len(names) == 1 and _is_classes(columns[names[0]]) else "regression"
    )
    if chosen == "regression":
        _check_quantities(columns, names)
        return Target(names=names, task="regression")
    if len(names) > 1:
        raise SchemaError(f"classification has one target column; received {', '.join(names)}; name one")
    return Target(names=names, task="classification", classes=_classes(names[0], columns[names[0]]))


def _text_target(columns: Columns, names: tuple[str, ...], reading: Mapping[str, Any]) -> Target:
    if len(names) > 1 or columns[names[0]].dtype != object:
        held = (
            ", ".join(names) if len(names) > 1 else f"{names[0]!r}, which holds {_example(columns[names[0]])}"
        )
        raise SchemaError(
            f"task generation has one target column of texts; received {held}; name one, or leave the task out"
        )
    return Target(names=names, task="generation", **reading)


def _box_target(columns: Columns, names: tuple[str, ...], fields: tuple[Field, ...]) -> Target:
    if len(names) > 1:
        raise SchemaError(f"detection has one target column; received {', '.join(names)}; name one")
    images = [field for field in fields if field.kind == "image"]
    if len(images) != 1 or len(fields) != 1:
        held = ", ".join(f"{field.name} ({field.kind})" for field in fields)
        raise SchemaError(
            f"detection has one input, an image; received {held}; name the image's column in data.inputs"
        )
    cells = parse_boxes(names[0], columns[names[0]], images[0].shape)
    labels = {label for cell in cells for label in cell.labels}
    if not labels:
        raise SchemaError(
            f"target {names[0]!r} has no box in any of {rows_of(columns)} rows; expected some; check the source"
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
            f"target {name!r} holds {_example(column)}; expected one class a row; "
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
            f"target {name!r} holds {odd!r}; a class must be text, a boolean or a whole number; "
            "state task: regression, or round the target to classes"
        )
    return tuple(sorted(value if isinstance(value, bool) else int(value) for value in values))


def _check_quantities(columns: Columns, names: tuple[str, ...]) -> None:
    for name in names:
        if columns[name].dtype == object or columns[name].ndim > 1:
            raise SchemaError(
                f"target {name!r} holds {_example(columns[name])}; a regression expects one number a row; "
                "correct the column, or state task: classification"
            )
