"""Rows that a program holds become rows of requests, whatever holds them."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tidegate.pipelines.batch.in_memory import open_batch_input
from tidegate.pipelines.errors import UsageError

INPUTS = [{"name": "age"}, {"name": "city"}]


def _rows(rows: Any, inputs: list[dict[str, Any]] = INPUTS, size: int = 2) -> list[Any]:
    chunks = list(open_batch_input(rows, inputs, size).chunks)
    assert all(len(chunk) <= size for chunk in chunks)
    return [row for chunk in chunks for row in chunk]


WANTED = [{"age": 33, "city": "Pune"}, {"age": None, "city": "Oslo"}, {"age": 5, "city": None}]


@pytest.mark.parametrize(
    "rows",
    [
        [
            {"age": np.int64(33), "city": "Pune", "churned": 1},
            {"age": float("nan"), "city": "Oslo"},
            WANTED[2],
        ],
        {"city": ["Pune", "Oslo", None], "age": [33, None, 5]},
        pa.table({"age": [33, None, 5], "city": ["Pune", "Oslo", None], "churned": [True, False, True]}),
        pa.table({"age": [33, None, 5], "city": ["Pune", "Oslo", None]}).to_pandas(),
    ],
    ids=["objects", "columns", "pyarrow", "pandas"],
)
def test_rows_of_each_kind(rows: Any) -> None:
    assert _rows(rows) == WANTED


def test_arrays_and_bare_values() -> None:
    assert _rows(np.eye(3), [{"name": "x"}]) == np.eye(3).tolist()
    assert _rows(["a text", "another"], [{"name": "text"}]) == ["a text", "another"]
    assert _rows({"x": np.eye(2)}, [{"name": "x"}]) == [{"x": [1.0, 0.0]}, {"x": [0.0, 1.0]}]


def test_values_become_those_of_json() -> None:
    row = {
        "day": date(2025, 1, 2),
        "at": datetime(2025, 1, 2, 3),
        "price": Decimal("1.5"),
        "inside": [np.float32(2)],
    }
    assert _rows([row], [{"name": name} for name in row]) == [
        {"day": "2025-01-02", "at": "2025-01-02T03:00:00", "price": 1.5, "inside": [2.0]}
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("rows.csv", "the rows are a str; expected a list of rows"),
        (7, "the rows are a int; expected a list of rows"),
        ({"age": 33, "city": "Pune"}, "the column age is 33; expected .* one row alone is a list of one"),
        ({"age": [1, 2], "city": ["Pune"]}, "the columns have different lengths: age 2, city 1"),
    ],
)
def test_what_are_no_rows(rows: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _rows(rows)
