"""Make a transform from the data: what the function is called with, which raw columns it reads, and its contract."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.data.data_warnings import tell
from tidegate.models.errors import SchemaError, TransformError, UserCodeError
from tidegate.models.preprocessing.kinds import inferred_kind
from tidegate.models.preprocessing.own_transform.checks import check_rows_alone, same_columns
from tidegate.models.preprocessing.own_transform.function import OPTION, OwnContent, OwnTransform
from tidegate.models.preprocessing.own_transform.given import Takes
from tidegate.models.preprocessing.own_transform.raw_fields import raw_column, raw_fields
from tidegate.models.preprocessing.schema import NUMBERS, Field, Schema
from tidegate.models.user_code.references import load_reference

TRIED = 512  # rows that are given without one of their columns
PATIENCE = 20.0  # seconds for finding out which columns are read
# Words of an annotation, and what the function is then called with; any other annotation means a dict of arrays.
ANNOTATIONS: dict[str, Takes] = {
    "polars": "polars",
    "pl.": "polars",
    "pyarrow": "pyarrow",
    "pa.Table": "pyarrow",
    "DataFrame": "pandas",
}


@dataclass(frozen=True)
class FittedTransform:
    """A transform, and what it made of the data.

    Attributes:
        own: the transform.
        fields: of the raw columns that it reads: what the endpoint takes.
        raw: those columns, all rows.
        inner: the columns that it returned, all rows.
    """

    own: OwnTransform
    fields: tuple[Field, ...]
    raw: Columns
    inner: Columns

    def encoded(
        self, columns: Columns, target: Sequence[str], inputs: Sequence[Mapping[str, Any]] | None
    ) -> tuple[Columns, list[Mapping[str, Any]], dict[str, str]]:
        """The columns that are encoded, the inputs among them, and no kinds that a format knows.

        A number is not scaled unless `inputs` says so: what the function returns reaches the model as it is.
        """
        stated = [{"name": name} for name in self.inner] if inputs is None else inputs
        entries = [{**entry, "scale": "none"} if self._is_as_it_is(entry) else entry for entry in stated]
        return {**self.inner, **{name: columns[name] for name in target}}, entries, {}

    def contract(self, encoded: Schema, columns: Columns) -> tuple[Schema, Columns]:
        """The schema of raw columns with a target, and the raw columns with it."""
        targets = {name: columns[name] for name in encoded.target.names}
        return Schema(inputs=self.fields, target=encoded.target), self.raw | targets

    def _is_as_it_is(self, entry: Mapping[str, Any]) -> bool:
        column = self.inner.get(entry["name"])
        if column is None or column.dtype == object or entry.get("scale") is not None:
            return False
        kind = entry.get("kind") or inferred_kind(entry["name"], column)
        return kind in ("numeric", "image", *NUMBERS)


def fit_transform(
    reference: str,
    columns: Columns,
    types: Mapping[str, str],
    kinds: Mapping[str, str],
    target: Sequence[str],
    task: str | None,
) -> FittedTransform:
    """Call the function with all rows, and check that it can be called with any.

    Args:
        reference: of the function.
        columns: all raw columns, the target's too, which it is not given.
        types: of the columns in the source, see `data.source_types`.
        kinds: of columns that a format knows, such as sequences.
        target: the target columns, and others that no request has.
        task: what is learned, as far as it is stated.

    Raises:
        SchemaError: the task needs the raw columns as they are.
        UserCodeError: the function is not there, or cannot be called with columns.
        TransformError: it raises, or treats no row by itself, see `own_transform.checks`.
    """
    if task in ("detection", "generation"):
        raise SchemaError(
            f"{OPTION} is {reference} and the task is {task}; expected classes or numbers to learn, because boxes and "
            "texts belong to the raw columns; prepare the columns in data.load instead"
        )
    raw = {name: column for name, column in columns.items() if name not in target}
    fields = raw_fields(raw, types, kinds)
    given = tuple(raw_column(field, raw[field.name], types.get(field.name, "")) for field in fields)
    function = load_reference(reference, OPTION)
    takes = _stated(function, reference)
    own = OwnTransform(OwnContent(reference=reference, takes=takes or "numpy", raw=given))
    own, inner = _first_call(own, raw, takes is not None, target)
    check_rows_alone(own, raw, inner)
    own = _reading_only(own, raw)
    named = {column.name for column in own.content.raw}
    return FittedTransform(
        own,
        tuple(field for field in fields if field.name in named),
        {name: column for name, column in raw.items() if name in named},
        inner,
    )


def _stated(function: Callable[..., Any], reference: str) -> Takes | None:
    """What the function's annotation asks for; None where it has none.

    Raises:
        UserCodeError: it is no function of one argument.
    """
    wrong = None
    if not callable(function) or inspect.isclass(function):
        wrong = f"is a {type(function).__name__}" if not inspect.isclass(function) else "is a class"
    else:
        needed = [one for one in inspect.signature(function).parameters.values() if _is_needed(one)]
        if len(needed) > 1 or not inspect.signature(function).parameters:
            wrong = f"takes {', '.join(one.name for one in needed) or 'no argument'}"
    if wrong is not None:
        raise UserCodeError(
            f"{OPTION}: {reference} {wrong}; expected a function of the columns alone, transform(columns) -> columns; "
            "name one, and give its other arguments defaults"
        )
    first = next(iter(inspect.signature(function).parameters.values()))
    if first.annotation is inspect.Parameter.empty:
        return None
    kind = first.annotation
    words = (
        kind
        if isinstance(kind, str)
        else f"{getattr(kind, '__module__', '')}.{getattr(kind, '__name__', kind)}"
    )
    return next((takes for text, takes in ANNOTATIONS.items() if text in words), "numpy")


def _is_needed(parameter: inspect.Parameter) -> bool:
    positional = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return positional and parameter.default is parameter.empty


def _first_call(
    own: OwnTransform, raw: Columns, stated: bool, target: Sequence[str]
) -> tuple[OwnTransform, Columns]:
    """Call it with all rows: with a dict of arrays; with a table where that fails and nothing is stated."""
    try:
        return own, own.apply(raw)
    except TransformError as error:
        table = OwnTransform(own.content.model_copy(update={"takes": "pandas"}))
        if not stated:
            try:
                inner = table.apply(raw)
            except TransformError as other:
                raise _explained(other, raw, target) from error
            tell(
                f"{own.what} takes no dict of arrays, and was given a table of pandas; annotate it: pd.DataFrame"
            )
            return table, inner
        raise _explained(error, raw, target) from error


def _explained(error: TransformError, raw: Columns, target: Sequence[str]) -> TransformError:
    """The same error with the row that it was raised for, and what was missing where it is the target."""
    hidden = next((name for name in target if f"KeyError: '{name}'" in str(error)), None)
    if hidden is not None:
        return TransformError(
            f"{error}; it is given all columns but {hidden!r}, which no request has; leave that one out"
        )
    if error.row is None:
        return error
    row = {name: column[error.row] for name, column in raw.items()}
    shown = ", ".join(f"{name}={value!s:.30}" for name, value in list(row.items())[:8])
    return TransformError(f"{error}; row {error.row} of the data: {shown}", error.row)


def _reading_only(own: OwnTransform, raw: Columns) -> OwnTransform:
    """The transform without the columns that it gives the same without; all of them where that cannot be known."""
    rows = take(raw, np.unique(np.linspace(0, rows_of(raw) - 1, min(TRIED, rows_of(raw))).astype(int)))
    expected, until = own.apply(rows), time.monotonic() + PATIENCE
    kept = list(own.content.raw)
    for column in own.content.raw:
        without = [one for one in kept if one.name != column.name]
        if time.monotonic() > until:
            tell(
                f"{own.what} is slow, so which columns it reads is not known; a request must have all of them"
            )
            return own
        if without and _gives(own, without, rows, expected):
            kept = without
    return OwnTransform(own.content.model_copy(update={"raw": tuple(kept)}))


def _gives(own: OwnTransform, raw: Sequence[Any], rows: Columns, expected: Columns) -> bool:
    try:
        found = OwnTransform(own.content.model_copy(update={"raw": tuple(raw)})).whole(rows)
    except UserCodeError:
        return False
    return same_columns(found, expected)
