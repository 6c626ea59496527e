"""The user's own transform as a part of `Transforms`: stored as data, run wherever raw columns become model inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tidegate.models.data.cells.spellings import spellings
from tidegate.models.data.columns import Array, Columns, as_strings, missing, rows_between, rows_of
from tidegate.models.errors import TransformError, UserCodeError
from tidegate.models.preprocessing.own_transform.given import RawColumn, Takes, given
from tidegate.models.preprocessing.own_transform.returned import returned
from tidegate.models.preprocessing.schema import Kind, Schema
from tidegate.models.user_code.references import load_reference, user_code

OPTION = "data.transform"


class ReturnedColumn(BaseModel):
    """A column that comes back and that the model gets: its kind, and the shape of a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()


class OwnContent(BaseModel):
    """What is stored of a transform.

    Attributes:
        reference: of the function, such as `churn.features:transform`.
        takes: what it is called with, see `own_transform.given`.
        raw: the raw columns that it reads, in the order of the source.
        returns: the columns of its result that the model gets; () while the schema is not known yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    takes: Takes
    raw: tuple[RawColumn, ...]
    returns: tuple[ReturnedColumn, ...] = ()


class OwnTransform:
    """A function of the user's project from raw columns to columns.

    It is loaded when it is first needed, from the project's folders on the import path (`user_code.project`), and
    called by one thread at a time.
    """

    def __init__(self, content: OwnContent) -> None:
        self.content = content
        self.what = f"{OPTION}: {content.reference}"
        # Of each raw column of categories, the known ones.
        self.categories = {
            column.name: list(column.categories) for column in content.raw if column.categories
        }
        self._known = {
            name: frozenset(values) | frozenset(spellings(tuple(values)))
            for name, values in self.categories.items()
        }
        self._lock = threading.Lock()

    def returning(self, schema: Schema) -> OwnTransform:
        """The same, which gives the inputs of a schema alone, in their kinds."""
        fields = tuple(
            ReturnedColumn(name=field.name, kind=field.kind, shape=field.shape) for field in schema.inputs
        )
        return OwnTransform(self.content.model_copy(update={"returns": fields}))

    def load(self) -> None:
        """Import the function now, from the project in use; raises UserCodeError."""
        _ = self._function

    def apply(self, columns: Columns) -> Columns:
        """Call the function on raw columns of `n` rows, and return its columns, `n` values each.

        Raises:
            TransformError: it raised, or returned other columns than in training; names the row where it is one.
            UserCodeError: the function cannot be imported.
        """
        try:
            return self.whole(columns)
        except TransformError as error:
            if rows_of(columns) == 1:
                raise TransformError(str(error), 0) from error
            if error.__cause__ is None:  # it answered, but for other rows than it was given
                raise
            row, own = self._failing(columns, 0, rows_of(columns)) or (None, error)
            raise TransformError(str(own), row) from error

    def taken(self, columns: Columns) -> Array:
        """The places of the rows that it does not fail for, ascending."""
        try:
            self.whole(columns)
            return np.arange(rows_of(columns))
        except TransformError:
            if rows_of(columns) == 1:
                return np.arange(0)
        half = rows_of(columns) // 2
        first, rest = (
            self.taken(rows_between(columns, 0, half)),
            self.taken(rows_between(columns, half, rows_of(columns))),
        )
        return np.concatenate([first, half + rest])

    def unseen(self, columns: Columns) -> dict[str, int]:
        """By raw column of categories, the rows whose value the data did not have; a missing one is not counted."""
        found = {}
        for name, known in self._known.items():
            found[name] = sum(value is not None and value not in known for value in columns[name].tolist())
        return found

    @cached_property
    def _function(self) -> Callable[[Any], Any]:
        function: Callable[[Any], Any] = load_reference(self.content.reference, OPTION)
        return function

    def whole(self, columns: Columns) -> Columns:
        """As `apply`, but an error does not say which row it is of."""
        function, content, what = self._function, self.content, self.what
        if not rows_of(columns) and content.returns:  # a split without rows; functions seldom expect none
            return {column.name: _none_of(column) for column in content.returns}
        try:
            with self._lock, user_code(what):
                found = function(given(content.takes, content.raw, columns))
        except UserCodeError as error:
            raise TransformError(str(error)) from error
        named = returned(found, rows_of(columns), what)
        if not content.returns:
            return named
        return {column.name: _conformed(column, named, what) for column in content.returns}

    def _failing(self, columns: Columns, start: int, stop: int) -> tuple[int, TransformError] | None:
        """The first row that fails alone, found by halves, and its error; None: only several rows together fail."""
        for first, last in _halves(start, stop):
            try:
                self.whole(rows_between(columns, first, last))
            except TransformError as error:
                return (first, error) if last - first == 1 else self._failing(columns, first, last)
        return None


def _halves(start: int, stop: int) -> Iterator[tuple[int, int]]:
    middle = (start + stop) // 2
    yield start, middle
    yield middle, stop


def _none_of(column: ReturnedColumn) -> Array:
    texts = column.kind in ("categorical", "text", "date")
    return np.zeros((0, *column.shape), object if texts else np.float64)


def _conformed(column: ReturnedColumn, found: Mapping[str, Array], what: str) -> Array:
    """A column in the kind and shape that it has in training."""
    if column.name not in found:
        raise TransformError(
            f"{what} returned the columns {', '.join(found)}, and no {column.name!r}; expected the same columns for "
            "any rows, as for those of the data"
        )
    values = found[column.name]
    if (
        values.dtype == object
        and column.kind not in ("categorical", "text", "date")
        and missing(values).all()
    ):
        values = np.full((len(values), *column.shape), np.nan)
    numbers = values.dtype != object
    fits = column.kind == "categorical" or numbers == (column.kind not in ("text", "date"))
    if column.kind == "id" and not column.shape:
        fits = True
    if not fits or values.shape[1:] != column.shape:
        held = f"{'numbers' if numbers else 'texts'} of shape {values.shape[1:]}"
        raise TransformError(
            f"{what} returned {held} in column {column.name!r}; expected {column.kind} of shape {column.shape}, as "
            "for the rows of the data; return one type and shape for any rows"
        )
    return as_strings(values) if column.kind == "categorical" else values
