"""What a model gets of dates and timestamps, by the names of `encode`."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms

DATES = ["2023-01-02T06:00", "2024-06-09", None, "2025-12-31T18:00:00"]


def encoded(parts: list[str], asked: list[str | None]) -> np.ndarray:
    columns = {"when": np.array(DATES, object), "y": np.arange(4) % 2}
    schema = infer_schema(columns, [{"name": "when", "kind": "date", "encode": parts}], ["y"], None)
    stored = json.loads(json.dumps(Transforms.fit(schema, columns).to_dict()))
    found: np.ndarray = Transforms.from_dict(stored).apply({"when": np.array(asked, object)})["features"]
    return found


def test_each_part_is_what_its_name_says() -> None:
    found = encoded(["year", "weekday", "hour", "month", "day", "days", "age"], DATES)
    assert found.shape == (4, 1 + 7 + 2 + 12 + 3) and not found[2].any()
    np.testing.assert_allclose(found[:, 0], [-np.sqrt(1.5), 0, 0, np.sqrt(1.5)], atol=1e-6)
    assert found[[0, 1, 3], 1:8].argmax(axis=1).tolist() == [0, 6, 2]  # Monday, Sunday, Wednesday
    np.testing.assert_allclose(found[:, 8:10], [[1, 0], [0, 1], [0, 0], [-1, 0]], atol=1e-6)
    assert found[[0, 1, 3], 10:22].argmax(axis=1).tolist() == [0, 5, 11]
    np.testing.assert_allclose(found[:, 24], -found[:, 23])
    assert found[0, 24] > found[1, 24] > found[3, 24]


def test_an_age_does_not_look_at_the_clock() -> None:
    later = encoded(["age"], ["2025-12-31T18:00:00", "2026-12-31T18:00:00"])
    assert later[1, 0] < later[0, 0] < 0


def test_the_same_moment_in_another_zone() -> None:
    same = encoded(
        ["days", "hour"], ["2025-12-31T18:00:00", "2025-12-31T20:00:00+02:00", "2025-12-31 18:00:00.000Z"]
    )
    np.testing.assert_allclose(same, same[[0, 0, 0]])


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        (
            {"kind": "date", "encode": []},
            r"has encode: \[\]; expected some of days, day, weekday, month, year",
        ),
        ({"kind": "date", "encode": ["year", "year"]}, "each once"),
        ({"kind": "date", "encode": ["decade"]}, r"has encode: \[decade\]"),
        (
            {"kind": "categorical", "encode": ["year"]},
            "is categorical and has encode; expected them only for date",
        ),
    ],
)
def test_parts_that_are_none_are_refused(stated: dict[str, Any], sentence: str) -> None:
    columns = {"when": np.array(DATES, object), "y": np.arange(4) % 2}
    with pytest.raises(SchemaError, match=sentence):
        infer_schema(columns, [{"name": "when", **stated}], ["y"], None)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us"), pa.timestamp("ns", "Asia/Kolkata"), pa.timestamp("s", "UTC"), pa.date32()]
)
def test_timestamps_of_parquet_are_dates(kind: Any, tmp_path: Path) -> None:
    moments = [datetime.datetime(2025, 1, 1) + datetime.timedelta(hours=7 * row) for row in range(200)]
    values = [moment.date() for moment in moments] if kind == pa.date32() else moments
    table = pa.table({"when": pa.array([*values[1:], None], kind), "y": np.arange(200) % 2})
    parquet.write_table(table, tmp_path / "rows.parquet")
    prepared = prepare(
        source=tmp_path / "rows.parquet",
        target=["y"],
        inputs=[{"name": "when", "encode": ["weekday", "hour"]}],
    )
    field = prepared.schema.inputs[0]
    assert (field.kind, field.dtype, field.nullable) == ("date", "str", True)
    asked = {"when": np.array(["2025-01-06T06:00:00Z", None], object)}  # a Monday
    found = prepared.transforms.apply(asked)["features"]
    np.testing.assert_allclose(found[0], [1, 0, 0, 0, 0, 0, 0, 1, 0], atol=1e-6)
    divided = prepare(source=tmp_path / "rows.parquet", target=["y"], inputs=[{"name": "when"}])
    assert divided.transforms.input_specs["features"].shape == (21 if kind == pa.date32() else 23,)
