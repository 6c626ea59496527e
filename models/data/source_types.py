"""The types that columns have in their source, as Arrow names them: `timestamp[us]`, `decimal128(10, 2)`.

A column of NumPy keeps the values and not the type: a timestamp is a text and a decimal is float64. A transform of the
user's own gets the type back, see `preprocessing.own_transform.given`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MIXED = ""  # several types in the files of one data set

_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)


@contextmanager
def noting_types() -> Iterator[dict[str, str]]:
    """Collect the types of the columns that are read inside, by name."""
    found: dict[str, str] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def note_type(name: str, kind: object) -> None:
    """Note the type of a column that is being read; nothing happens where nobody collects."""
    found = _noted.get()
    if found is not None:
        found[name] = str(kind) if found.get(name, str(kind)) == str(kind) else MIXED
