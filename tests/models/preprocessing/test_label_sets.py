"""Sets of labels as a target: lists in any format, texts, arrays and columns of 0 and 1."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.models.errors import DataError
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.target.encode_target import encode_target

ROWS = 60
LISTS = [[["b"], ["a", "c"], [], ["c"]][row % 4] for row in range(ROWS)]
MATRIX = [[[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]][row % 4] for row in range(ROWS)]


def _jsonl(folder: Path, values: list[Any]) -> Path:
    path = folder / "rows.jsonl"
    lines = [json.dumps({"x": float(row), "y": value}) for row, value in enumerate(values)]
    path.write_text("\n".join(lines), "utf-8")
    return path


def _csv(folder: Path, values: list[str]) -> Path:
    path = folder / "rows.csv"
    cells = [f'{float(row)},"{value}"' for row, value in enumerate(values)]
    path.write_text("\n".join(["x,y", *cells]), "utf-8")
    return path


def _parquet(folder: Path, values: list[Any]) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(ROWS, dtype=float), "y": values}), path)
    return path


def _learned(prepared: Prepared) -> dict[float, list[float]]:
    """What is learned of each row, by its x."""
    found = {}
    for part in prepared.splits.values():
        rows = encode_target(prepared.schema, part).tolist()
        found |= dict(zip(part["x"].tolist(), rows, strict=True))
    return found


EXPECTED = {float(row): list(map(float, values)) for row, values in enumerate(MATRIX)}


@pytest.mark.parametrize(
    ("write", "values", "target"),
    [
        (_jsonl, LISTS, "y"),
        (_parquet, LISTS, "y"),
        (_csv, [str(labels).replace('"', "'") for labels in LISTS], "y"),
        (_csv, [";".join(labels) for labels in LISTS], {"name": "y", "kind": "labels"}),
    ],
    ids=["jsonl", "parquet", "lists in csv", "texts in csv"],
)
def test_lists_of_labels_are_learned_as_a_number_a_label(
    tmp_path: Path, write: Any, values: list[Any], target: Any
) -> None:
    prepared = prepare(source=write(tmp_path, values), target=[target])
    assert (prepared.schema.target.task, prepared.schema.target.classes) == ("multilabel", ("a", "b", "c"))
    learned = _learned(prepared)
    assert learned == {x: EXPECTED[x] for x in learned}
    empty = 0 if write is not _csv or target == "y" else ROWS // 4  # an empty cell is a missing value
    assert len(learned) == ROWS - empty
    assert sum(prepared.summary["labels"]["train"].values()) > 0


def test_labels_may_be_numbers_where_their_kind_is_stated(tmp_path: Path) -> None:
    numbers = [[7, 12] if row % 2 else [12] for row in range(ROWS)]
    prepared = prepare(source=_jsonl(tmp_path, numbers), target=[{"name": "y", "kind": "labels"}])
    assert prepared.schema.target.classes == ("12", "7")


def test_columns_and_arrays_of_zero_and_one_are_labels_where_the_task_says_so(tmp_path: Path) -> None:
    x, matrix = np.arange(ROWS, dtype=float), np.array(MATRIX)
    np.savez(tmp_path / "columns.npz", x=x, a=matrix[:, 0], b=matrix[:, 1], c=matrix[:, 2])
    np.savez(tmp_path / "arrays.npz", x=x, y=matrix)
    columns = prepare(source=tmp_path / "columns.npz", target=["a", "b", "c"], task="multilabel")
    arrays = prepare(source=tmp_path / "arrays.npz", target=["y"], task="classification")
    assert columns.schema.target.classes == ("a", "b", "c")
    assert arrays.schema.target.classes == (0, 1, 2)
    assert _learned(columns) == _learned(arrays) == EXPECTED


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([["a"], ["a"]] * 30, r"the labels \['a'\]; expected two or more"),
        ([["a"], [["b"]]] * 30, "line 2: 'y' is no list of labels.*correct the line"),
        ([["a"], "b"] * 30, "line 2: 'y' is a string; expected a list, as in the lines before"),
    ],
)
def test_what_is_no_set_of_labels_is_refused_in_words(tmp_path: Path, values: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepare(source=_jsonl(tmp_path, values), target=["y"])


def test_a_column_of_other_numbers_is_no_label(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(ROWS), a=np.arange(ROWS) % 3, b=np.arange(ROWS) % 2)
    with pytest.raises(
        DataError, match=r"target 'a' holds .*2.* in row 3, and the task is multilabel; expected 0 or 1"
    ):
        prepare(source=tmp_path / "d.npz", target=["a", "b"], task="multilabel")
