"""What `prepare` tells of a target that hardly varies, by the kind of the source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed

SPLIT = {"validation": 0.1, "test": 0.2, "seed": 7}


def written(folder: Path, suffix: str, target: Sequence[Any]) -> Path:
    """Rows of one number and this target; None is no target."""
    path, numbers = folder / f"rows{suffix}", list(range(len(target)))
    if suffix == ".csv":
        path.write_text(
            "x,y\n" + "".join(f"{x},{'' if y is None else y}\n" for x, y in zip(numbers, target, strict=True))
        )
    elif suffix == ".jsonl":
        path.write_text(
            "".join(json.dumps({"x": x, "y": y}) + "\n" for x, y in zip(numbers, target, strict=True))
        )
    elif suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"x": numbers, "y": list(target)}), path)
    else:
        np.savez(path, x=np.array(numbers), y=np.array(target))
    return path


def told(folder: Path, suffix: str, target: Sequence[Any], streamed: bool = False) -> list[str]:
    source = written(folder, suffix, target)
    warnings: list[str] = (_streamed(source, folder) if streamed else _whole(source)).summary["warnings"]
    return [sentence for sentence in warnings if "column" not in sentence]


def _whole(source: Path) -> Prepared:
    return prepare(source=source, target=["y"], split=SPLIT)


def _streamed(source: Path, folder: Path, task: str | None = None, target: str = "y") -> Prepared:
    rest: dict[str, Any] = dict.fromkeys(("format", "inputs", "sample_rate"))
    return prepare_streamed(
        StreamedData(
            source=source,
            target=[target],
            task=task,
            split=SPLIT,
            memory=1 << 28,
            folder=folder,
            keep=lambda path: path,
            **rest,
        )
    )


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".npz"])
def test_a_class_of_one_row_is_told_with_its_number(suffix: str, streamed: bool, tmp_path: Path) -> None:
    target = ["no", "yes"] * 30
    target[41] = "once"
    (sentence,) = told(tmp_path, suffix, target, streamed)
    assert (
        sentence
        == "class 'once' (row 42) has one row: learned from it and never tested; add rows, or leave it out"
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_rows_without_a_target_count_too(streamed: bool, tmp_path: Path) -> None:
    target = [None, None, "once", *["no", "yes"] * 30]
    assert "class 'once' (row 3) has one row" in told(tmp_path, ".csv", target, streamed)[0]


def test_a_streamed_target_that_is_constant_is_told(tmp_path: Path) -> None:
    (sentence,) = told(tmp_path, ".csv", [1.5] * 60, streamed=True)
    assert sentence.startswith("target 'y' is 1.5 in all 60 rows")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (["a", "b", *["no", "yes"] * 30], "classes 'a' (row 1), 'b' (row 2) have one row each"),
        ([*map(str, "abcdefg"), *["no", "yes"] * 30], "'e' (row 5) and 2 more have one row each"),
        (["a", "a", *["no"] * 60], "class 'a' (2 rows) has no test row"),
        ([1.5] * 60, "target 'y' is 1.5 in all 60 rows, so there is nothing to predict"),
        ([0.0] * 50 + [row + 0.5 for row in range(10)], "target 'y' is 0.0 in 50 of 60 rows"),
        (
            ["no", "yes", "No", "YES", "ye s"] * 12,
            "classes 'No' and 'no', 'YES' and 'yes' differ only in case",
        ),
        (["no", "yes"] * 30, ""),
        ([row + 0.5 for row in range(60)], ""),
    ],
)
def test_what_hardly_varies_is_told(target: list[Any], sentence: str, tmp_path: Path) -> None:
    found = told(tmp_path, ".csv", target)
    assert [sentence in one for one in found] == ([True] if sentence else [])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_target_of_texts_that_hardly_repeat_is_no_class(streamed: bool, tmp_path: Path) -> None:
    for text, words in (
        ("{}.80 EUR", "'[0-9.]+ EUR': numbers with a unit"),
        ("name{}", "'name[0-9]+'; expected"),
    ):
        with pytest.raises(SchemaError, match=f"holds 60 different texts in 60 rows, such as {words}"):
            told(tmp_path, ".csv", [text.format(row) for row in range(60)], streamed)
    sentences = told(tmp_path, ".csv", [f"{row % 6}.5 kg" for row in range(120)], streamed)
    assert "holds 6 different texts in 120 rows, such as '0.5 kg': numbers with a unit" in sentences[0]


def test_streamed_classes_of_one_row_leave_no_test_row(tmp_path: Path) -> None:
    source = written(tmp_path, ".csv", [f"name{row}" for row in range(60)])
    with pytest.raises(SplitError, match="60 rows of 60 classes leave no test row"):
        _streamed(source, tmp_path, "classification")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.parametrize("streamed", [False, True])
def test_rows_dropped_for_an_infinite_target_are_told(suffix: str, streamed: bool, tmp_path: Path) -> None:
    target = [np.inf if row % 10 == 3 else row / 7 for row in range(120)]
    sentences = told(tmp_path, suffix, target, streamed)
    assert "target y is an infinite number in 12 of 120 rows, which are dropped" in sentences[0]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".npz"])
def test_infinite_inputs_are_told(suffix: str, tmp_path: Path) -> None:
    target = [-np.inf if row % 10 == 3 else row / 7 for row in range(120)]
    source = written(tmp_path, suffix, target)
    for prepared in (
        prepare(source=source, target=["x"], task="regression"),
        _streamed(source, tmp_path, "regression", "x"),
    ):
        expected = "column 'y' holds 12 infinite numbers, taken for missing"
        assert [expected in one for one in prepared.summary["warnings"]].count(True) == 1
        assert not any("'-inf'" in one for one in prepared.summary["warnings"])
