"""What comes back from a transform, as columns: dicts and tables, numbers and texts, missing values."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest

from tidegate.models.errors import TransformError
from tidegate.models.preprocessing.own_transform.returned import returned


def _column(values: Any) -> list[Any]:
    return [None if value != value else value for value in returned({"x": values}, 2, "it")["x"].tolist()]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1, 2], np.int16), [1, 2]),
        ([1.5, 2], [1.5, 2.0]),
        (["a", None], ["a", None]),
        ([True, False], [True, False]),
        (pd.Series([1, None], dtype="Int64"), [1.0, None]),
        (pd.Series(["a", None]), ["a", None]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.Series([True, None], dtype=object), ["true", None]),
        (pd.to_datetime(pd.Series(["2025-01-02", None])), ["2025-01-02T00:00:00", None]),
        (np.array([Decimal("1.5"), None]), [1.5, None]),
        (np.array([datetime.date(2025, 1, 2), None]), ["2025-01-02", None]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pd.Series([np.array([1.0, 2.0]), [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]),
        (pyarrow.chunked_array([[1], [None]]), [1.0, None]),
    ],
)
def test_values_as_columns(values: Any, expected: list[Any]) -> None:
    found = [value.split(".")[0] if isinstance(value, str) else value for value in _column(values)]
    assert found == expected


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}),
        pyarrow.table({"x": [1, 2], "y": ["a", "b"]}),
        {"x": [1, 2], "y": ["a", "b"]},
    ],
)
def test_tables_of_any_library(table: Any) -> None:
    found = returned(table, 2, "it")
    assert {name: column.tolist() for name, column in found.items()} == {"x": [1, 2], "y": ["a", "b"]}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "returned nothing"),
        ([1, 2], "returned a list"),
        ({}, "returned no columns"),
        ({"x": 3.0}, "returned one value in column 'x' for 2 rows"),
        ({"x": [1]}, "returned 1 rows in column 'x' for 2 rows"),
        ({1: [1, 2]}, "with the name 1"),
        ({"x": [1 + 2j, 3]}, "values of type complex128 in column 'x'"),
        ({"x": [object(), None]}, "returned a object in column 'x'"),
        ({"x": ["a", 1.5]}, "numbers, truths, texts or dates, of one type"),
        ({"x": [[1, 2], [3]]}, "returned a list in column 'x'"),
    ],
)
def test_what_is_no_column_is_refused(found: Any, words: str) -> None:
    with pytest.raises(TransformError, match=words):
        returned(found, 2, "it")
