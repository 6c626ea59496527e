"""Rows that a function of the user's gives: typed by what it gives, and its numbers as they are."""

from __future__ import annotations

import datetime
import decimal
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tidegate.models.data.columns import Columns, concat
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import OwnLoad, ReadOptions
from tidegate.models.datasets import chunks
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.readers.own.own_load import held_parts
from tidegate.models.user_code.project import use_project

ROWS = 120
number = itertools.count()
DAY = datetime.datetime(2025, 3, 1, 10, 30)


class Table:
    """Another library's table, of which only Arrow's protocol is known."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[Callable[[Any], OwnLoad]]:
    """Makes a function of a project that returns what a function here does."""
    modules: list[str] = []

    def make(give: Callable[..., Any], **options: Any) -> OwnLoad:
        module = f"loads_{next(number)}"
        (tmp_path / f"{module}.py").write_text(
            "give = None\ndef load(**options):\n    return give(**options)\n"
        )
        use_project([tmp_path])
        __import__(module)
        vars(sys.modules[module])["give"] = give
        modules.append(module)
        return OwnLoad(f"{module}:load", options)

    yield make
    use_project([])


def rows(load: OwnLoad, columns: list[str] | None = None, **options: Any) -> Columns:
    with recorded():
        return concat(list(chunks(None, None, columns, None, options=ReadOptions(load=load, **options))))


def test_columns_of_numpy_stay_as_they_are(loading: Callable[..., OwnLoad]) -> None:
    given: dict[str, Any] = {
        "image": np.zeros((3, 4, 4, 3), np.uint8),
        "small": np.array([1, 2, 3], np.int8),
        "half": np.array([0.1, 0.2, 0.3], np.float32),
        "big": np.array([2**63, 1, 2], np.uint64),
        "swapped": np.array([1.0, 2.0, 3.0], ">f8"),
        "yes": np.array([True, False, True]),
        "text": np.array(["a", "b", "c"]),
        "when": np.array(["2025-03-01T10:30", "NaT", "2025-03-02"], "datetime64[s]"),
        "object": np.array(["a", None, "c"], object),
        "list": [1, None, 3],
        "words": ("x", "y", None),
    }
    found = rows(loading(lambda: given))
    for name in ("image", "small", "half", "big", "yes"):
        assert found[name].dtype == given[name].dtype and (found[name] == given[name]).all()
    assert found["swapped"].tolist() == [1.0, 2.0, 3.0] and found["swapped"].dtype == "float64"
    assert found["text"].tolist() == ["a", "b", "c"] and found["object"].tolist() == ["a", None, "c"]
    assert found["when"].tolist() == ["2025-03-01 10:30:00", None, "2025-03-02 00:00:00"]
    assert np.isnan(found["list"][1]) and found["words"].tolist() == ["x", "y", None]


ARROW = pa.table(
    {
        "n": pa.array([1, None, 3], pa.int64()),
        "big": pa.array([2**53 + 1, None, 3], pa.int64()),
        "money": pa.array([decimal.Decimal("1.10"), decimal.Decimal("2.00"), None]),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "naive": pa.array([DAY, None, DAY], pa.timestamp("us")),
        "zoned": pa.array([DAY, None, DAY], pa.timestamp("ms", "Europe/Berlin")),
        "day": pa.array([DAY.date(), None, DAY.date()]),
        "flag": pa.array([True, None, False]),
        "sure": pa.array([True, True, False]),
        "series": pa.array([[1.0], [1.0, 2.0], None]),
    }
)


@pytest.mark.parametrize(
    "table", [ARROW, Table(ARROW), ARROW.to_pandas(types_mapper=pd.ArrowDtype), ARROW.to_reader()]
)
def test_tables_are_typed_by_arrow(loading: Callable[..., OwnLoad], table: Any) -> None:
    load = loading(lambda: table)
    held = OwnLoad(
        load.reference, load.options, held_parts(load, None, float("inf"))
    )  # a reader is read once
    found = rows(held)
    assert found["n"].dtype == "float64" and found["n"][2] == 3 and np.isnan(found["n"][1])
    assert found["big"].tolist() == [str(2**53 + 1), None, "3"]  # as in Parquet: float64 would change it
    assert found["money"][0] == 1.1 and found["kind"].tolist() == ["a", "b", "a"]
    assert found["naive"][0].startswith("2025-03-01 10:30:00") and found["naive"][1] is None
    assert found["zoned"][0].endswith(("+0100", "+01:00")) and found["day"][0].startswith("2025-03-01")
    assert found["flag"].tolist() == ["true", None, "false"] and found["sure"].tolist() == [True, True, False]
    assert found["series"].shape == (3, 2)


def test_pandas_as_people_have_it(loading: Callable[..., OwnLoad]) -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], "Int64"),
            "kind": pd.Categorical(["a", None, "b"]),
            "when": pd.to_datetime(["2025-03-01", None, "2025-03-02"]),
            "money": [decimal.Decimal("1.5"), None, decimal.Decimal("2.5")],
        },
        index=[7, 7, 9],
    )
    found = rows(loading(lambda: frame))
    assert list(found) == ["n", "kind", "when", "money"]  # the index is told, and left out
    assert found["kind"].tolist() == ["a", None, "b"] and found["money"][2] == 2.5
    assert rows(loading(lambda: {"n": frame["n"], "x": frame["money"]}))["n"][2] == 3


def parts(size: int = 30, **_: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, ROWS, size):
        places = np.arange(start, min(ROWS, start + size))
        yield {"x": places / 7, "colour": np.array(["red", "blue"])[places % 2], "y": places % 2}


def test_an_iterator_is_held_or_streamed(loading: Callable[..., OwnLoad], tmp_path: Path) -> None:
    load = loading(parts, size=25)
    assert held_parts(load, None, 100) is None
    held = held_parts(load, None, 1 << 20)
    assert held is not None and len(held) == 5
    whole = prepare(load=OwnLoad(load.reference, load.options, held), target=["y"])
    kept: list[Path] = []

    def keep(path: Path) -> Path:
        kept.append(path.rename(tmp_path / f"kept{len(kept)}.npz"))
        return kept[-1]

    data = StreamedData(None, None, None, ["y"], {}, None, None, 1 << 30, tmp_path, keep, load=load)
    streamed = prepare_streamed(data)
    assert streamed.schema == whole.schema and sum(streamed.summary["rows"].values()) == ROWS
    assert len(kept) == 1


@pytest.mark.usefixtures("loading")
def test_options_and_source_are_given(tmp_path: Path) -> None:
    (tmp_path / "sized.py").write_text(
        "import numpy as np\n"
        "def load(source, *, scale):\n"
        "    x = np.loadtxt(source) * scale\n"
        "    return {'x': x, 'y': (x > 5).astype(int)}\n"
    )
    use_project([tmp_path])
    for name, count in (("train.txt", 40), ("test.txt", 8)):
        np.savetxt(tmp_path / name, np.arange(count) / count)
    prepared = prepare(
        source=tmp_path / "train.txt",
        target=["y"],
        split={"test": str(tmp_path / "test.txt")},
        load=OwnLoad("sized:load", {"scale": 10}),
    )
    assert prepared.splits["test"]["x"].tolist() == [10 * place / 8 for place in range(8)]
