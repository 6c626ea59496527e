"""One-hot labels are classes, whatever the format; several ones, and a stated regression, stay numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.target.one_hot import TargetColumns

ROWS = 60
PLACES = np.arange(ROWS) % 3
LABELS = np.eye(3, dtype=np.float32)[PLACES]
SPLIT = {"validation": 0.1, "test": 0.2, "seed": 1}


def npz(folder: Path, labels: NDArray[Any]) -> Path:
    np.savez(folder / "d.npz", x=np.arange(len(labels), dtype=np.float64), y=labels)
    return folder / "d.npz"


def jsonl(folder: Path, labels: NDArray[Any]) -> Path:
    lines = [json.dumps({"x": row, "y": label.tolist()}) for row, label in enumerate(labels)]
    (folder / "d.jsonl").write_text("\n".join(lines))
    return folder / "d.jsonl"


def parquet(folder: Path, labels: NDArray[Any]) -> Path:
    table = pa.table({"x": np.arange(len(labels)) / 2, "y": labels.tolist()})
    pq.write_table(table, folder / "d.parquet")
    return folder / "d.parquet"


def csv(folder: Path, labels: NDArray[Any]) -> Path:
    lines = [f"{row / 2},{','.join(str(int(one)) for one in label)}" for row, label in enumerate(labels)]
    (folder / "d.csv").write_text("\n".join(["x,cat,dog,eel", *lines]))
    return folder / "d.csv"


@pytest.mark.parametrize("write", [npz, jsonl, parquet, csv])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("streamed", [False, True])
def test_one_hot_rows_are_classes_and_that_is_told(
    write: Any, dtype: Any, streamed: bool, tmp_path: Path
) -> None:
    source = write(tmp_path, LABELS.astype(dtype))
    names = ["cat", "dog", "eel"] if write is csv else ["y"]
    if streamed:
        found = prepare_streamed(
            StreamedData(
                source, None, None, names, SPLIT, None, None, 1 << 30, tmp_path, lambda path: path.name
            )
        )
    else:
        found = prepare(source=source, target=names, split=SPLIT)
    target = found.schema.target
    assert target.task == "classification"
    assert target.classes == (("cat", "dog", "eel") if write is csv else (0, 1, 2))
    assert [field.name for field in found.schema.inputs] == ["x"]
    told = "".join(found.summary["warnings"])
    assert (
        f"target {', '.join(names)}: each row has one 1 and else 0, and is read as one of the classes" in told
    )
    if not streamed:
        rows = found.splits["test"]
        places = found.transforms.target(found.schema, rows)
        factor = 1 if write is npz or write is jsonl else 2
        np.testing.assert_array_equal(places, PLACES[(rows["x"] * factor).astype(int)])


@pytest.mark.parametrize(
    ("labels", "task", "outputs"),
    [
        (LABELS, "regression", 3),  # stated
        (np.maximum(LABELS, LABELS[::-1]), None, 3),  # several ones
        (LABELS * 0.5, None, 3),
        (np.zeros((ROWS, 3)), None, 3),
        (LABELS[:, :1] + 0.5, None, 1),
    ],
)
def test_what_is_not_one_hot_stays_numbers(
    labels: NDArray[Any], task: str | None, outputs: int, tmp_path: Path
) -> None:
    found = prepare(source=npz(tmp_path, labels), target=["y"], split=SPLIT, task=task)
    assert found.schema.target.names == (("y_0", "y_1", "y_2") if outputs == 3 else ("y",))
    assert not any("one 1" in told for told in found.summary["warnings"])


def test_arrays_that_are_no_classes_are_refused_by_their_own_name(tmp_path: Path) -> None:
    with pytest.raises(
        SchemaError, match=r"target 'y' holds arrays of 3 numbers.*expected one class per row"
    ):
        prepare(source=npz(tmp_path, LABELS * 2), target=["y"], split=SPLIT, task="classification")


def test_rows_without_a_label_are_left_out_and_later_ones_must_fit() -> None:
    labels = LABELS.copy()
    labels[4] = np.nan
    reader = TargetColumns(["y"], None)
    with recorded():
        columns, names = reader.read({"y": labels})
    assert names == ["y"]
    assert np.isnan(columns["y"][4])
    with pytest.raises(SchemaError, match="begins with one-hot rows"):
        reader.read({"y": labels * 2})


def test_columns_of_true_and_false_are_one_hot_and_other_ones_are_numbers_if_that_is_stated(
    tmp_path: Path,
) -> None:
    rows = [f"{row / 2},{','.join(str(bool(one)) for one in label)}" for row, label in enumerate(LABELS)]
    rows[4] = "2.0,,,"
    source = tmp_path / "d.csv"
    source.write_text("\n".join(["x,cat,dog,eel", *rows]))
    names = ["cat", "dog", "eel"]
    for task in (None, "classification"):
        found = prepare(source=source, target=names, split=SPLIT, task=task)
        assert (found.schema.target.classes, found.summary["dropped_rows"]) == (("cat", "dog", "eel"), 1)
    columns = {"a": np.array(["True", "false"], object), "b": np.array(["False", "TRUE"], object)}
    reader = TargetColumns(["a", "b"], None)
    with recorded():
        assert reader.read(columns)[0]["label"].tolist() == ["a", "b"]
    with pytest.raises(SchemaError, match="begins with one-hot rows"):
        reader.read(columns | {"b": np.array(["red", None], object)})
    source.write_text("\n".join(["x,cat,dog,eel", *rows, "9,True,True,False"]))
    with pytest.raises(SchemaError, match="regression to learn true and false as 1 and 0"):
        prepare(source=source, target=names, split=SPLIT)
    assert prepare(source=source, target=names, split=SPLIT, task="regression").schema.target.names == tuple(
        names
    )
