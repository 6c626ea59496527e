"""What a transform is given: the source's own types, the same for all rows of the data and for one row of a request."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tidegate.models.data.columns import Array
from tidegate.models.preprocessing.own_transform.given import RawColumn, given


def _objects(*values: str | None) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _series(column: Array, kind: str, **more: object) -> "pd.Series[object]":
    raw = RawColumn.model_validate({"name": "x", "type": kind, **more})
    return given("pandas", [raw], {"x": column})["x"]


@pytest.mark.parametrize(
    "text",
    ["2025-03-01 04:05:06.000000", "2025-03-01T04:05:06", "2025-03-01T05:05:06+01:00", "2025-3-1 4:05:06"],
)
def test_a_timestamp_is_one_however_it_is_written(text: str) -> None:
    found = _series(_objects(text, None), "timestamp[us]")
    assert found.dtype == "datetime64[us]"
    assert found[0] == pd.Timestamp("2025-03-01 04:05:06") and found[1] is pd.NaT


def test_nanoseconds_and_zones_are_kept() -> None:
    found = _series(_objects("2025-07-01 00:00:00.123456789Z"), "timestamp[ns, tz=Europe/Berlin]")
    assert found[0] == pd.Timestamp("2025-07-01 02:00:00.123456789", tz="Europe/Berlin")


def test_a_timestamp_in_a_dict_is_of_numpy() -> None:
    raw = [RawColumn(name="t", type="timestamp[ms]"), RawColumn(name="d", type="date32[day]")]
    found = given("numpy", raw, {"t": _objects("2025-03-01 04:05"), "d": _objects("2025-03-01")})
    assert found["t"].dtype == "datetime64[ms]" and found["d"].dtype == "datetime64[D]"


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (_objects("2025-03-01", None), "date32[day]", [datetime.date(2025, 3, 1), None]),
        (np.array([48.58, np.nan]), "decimal128(10, 2)", [Decimal("48.58"), None]),
        (_objects("48.580", None), "decimal128(30, 3)", [Decimal("48.580"), None]),
        (_objects("true", None, "false"), "bool", [True, None, False]),
    ],
)
def test_what_numpy_has_no_type_for(column: Array, kind: str, expected: list[object]) -> None:
    assert _series(column, kind).tolist() == expected


def test_one_row_has_the_type_that_all_rows_have() -> None:
    """A category has all of its values, and a text is one where it is missing."""
    known = {"categories": ("a", "b", "c")}
    kind = "dictionary<values=string, indices=int32, ordered=0>"
    assert pd.get_dummies(_series(_objects("b"), kind, **known)).columns.tolist() == ["a", "b", "c"]
    assert _series(_objects(None), "string").dtype == _series(_objects("a", "b"), "string").dtype


def test_arrays_are_copies_that_the_function_may_change() -> None:
    column = np.arange(3.0)
    given("numpy", [RawColumn(name="x")], {"x": column})["x"][:] = 0
    table = given("pandas", [RawColumn(name="x")], {"x": column})
    table.loc[0, "x"] = 9
    assert column.tolist() == [0, 1, 2]


def test_an_array_a_row_is_an_array_in_a_cell() -> None:
    found = given("pandas", [RawColumn(name="x")], {"x": np.zeros((2, 3))})
    assert [cell.shape for cell in found["x"]] == [(3,), (3,)]


def test_tables_of_arrow() -> None:
    found = given("pyarrow", [RawColumn(name="x")], {"x": np.arange(3)})
    assert found.column("x").to_pylist() == [0, 1, 2]
