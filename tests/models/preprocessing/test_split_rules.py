"""Rows divided by time, by groups, by a column of parts and by files of their own; what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.columns import Columns
from tidegate.models.errors import DataError, SplitError
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.splitting.rules import SplitRules, divide, group_digests, groups_of
from tidegate.models.preprocessing.splitting.splits import fold_rows

ROWS = 400
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=ROWS), RANDOM.integers(0, 2, ROWS)
DAYS = np.array([f"2025-{1 + row % 9:02}-{1 + row % 28:02}" for row in range(ROWS)], object)


def parts(more: Columns, labels: np.ndarray = Y, **stated: Any) -> dict[str, Any]:
    columns: Columns = {"x": X, "y": labels}
    rules = SplitRules.of({"seed": 7, **stated})
    schema = infer_schema(columns, [{"name": "x"}], ["y"], None)
    return divide(schema, columns | more, rules, groups=groups_of(rules, more))


def written(folder: Path, name: str, columns: Columns) -> Path:
    path = folder / name
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("times", [DAYS, np.arange(ROWS)[::-1] // 7, np.arange(ROWS) / 3.0])
def test_the_last_rows_in_time_are_the_test_rows(times: np.ndarray) -> None:
    found = parts({"when": times}, time="when")
    first, last = ({name: end(times[rows].tolist()) for name, rows in found.items()} for end in (min, max))
    assert last["train"] < first["validation"] and last["validation"] < first["test"]
    sizes = {name: len(rows) for name, rows in found.items()}
    assert sum(sizes.values()) == ROWS and abs(sizes["test"] - 80) < 10 and abs(sizes["validation"] - 40) < 10
    assert times[found["test"]].tolist() != sorted(
        times[found["test"]].tolist()
    )  # the first rows stand for all


def test_rows_that_stand_in_the_order_of_time() -> None:
    found = parts({}, time=True)
    assert {name: (min(rows), max(rows)) for name, rows in found.items()} == {
        "train": (0, 279),
        "validation": (280, 319),
        "test": (320, 399),
    }


@pytest.mark.parametrize("groups", [9, 150])
def test_a_group_is_in_one_part(groups: int) -> None:
    names = np.array([f"c{row % groups}" for row in range(ROWS)], object)
    found = parts({"customer": names}, group="customer")
    own = [set(names[rows]) for rows in found.values()]
    assert all(own) and sum(map(len, own)) == groups
    assert abs(len(found["test"]) - 80) < 45


def test_a_group_of_many_keeps_its_part_when_others_are_added() -> None:
    names = np.arange(6000)

    def test_groups(count: int) -> set[int]:
        columns = {"x": np.arange(float(count)), "y": np.arange(count) % 2, "g": names[:count]}
        schema = infer_schema(columns, [{"name": "x"}], ["y"], None)
        found = divide(schema, columns, SplitRules(group="g"), groups=group_digests("g", names[:count]))
        return set(names[found["test"]].tolist())

    assert test_groups(5000) == {name for name in test_groups(6000) if name < 5000}


def test_a_class_of_one_group_is_learned() -> None:
    names = np.arange(ROWS) // 10
    labels = np.where(names == names[-1], 2, Y)
    for seed in range(8):
        found = parts({"g": names}, labels, group="g", seed=seed)
        assert set(labels[found["train"]]) == {0, 1, 2}


def test_folds_keep_groups_together() -> None:
    columns, names = {"x": X, "y": Y}, np.arange(ROWS) // 10
    schema = infer_schema(columns, None, ["y"], None)
    folds = fold_rows(schema, columns, 4, 7, group_digests("g", names))
    assert sorted(np.concatenate([own for _, own in folds]).tolist()) == list(range(ROWS))
    for others, own in folds:
        assert len(own) == 100 and not set(names[others]) & set(names[own])


def test_a_column_names_the_parts(tmp_path: Path) -> None:
    words = np.array(["Train", "TEST", "train", "dev"], object)[np.arange(ROWS) % 4]
    path = written(tmp_path, "rows.csv", {"x": X, "part": words, "y": Y})
    prepared = prepare(source=path, target=["y"], split={"column": "part"})
    assert prepared.summary["rows"] == {"train": 200, "validation": 100, "test": 100}
    assert [field.name for field in prepared.schema.inputs] == ["x"]
    assert set(prepared.splits["test"]["x"]) == set(X[1::4].tolist())
    words[words == "dev"] = "train"
    path = written(tmp_path, "rows.csv", {"x": X, "part": words, "y": Y})
    prepared = prepare(source=path, target=["y"], split={"column": "part", "validation": 0.1})
    assert prepared.summary["rows"] == {"train": 270, "validation": 30, "test": 100}


@pytest.mark.parametrize("stated", [{"validation": 0.2}, {"validation": 0}, {"test": 0.3}])
def test_a_share_of_rows_that_the_column_names_is_refused(stated: dict[str, Any], tmp_path: Path) -> None:
    words = np.array(["train", "test", "train", "dev"], object)[np.arange(ROWS) % 4]
    path = written(tmp_path, "rows.csv", {"x": X, "part": words, "y": Y})
    (part,) = stated
    with pytest.raises(SplitError, match=rf"data\.split\.{part} is .*column 'part' names the {part} rows"):
        prepare(source=path, target=["y"], split={"column": "part", **stated})


def files(folder: Path, test: Columns, **more: Any) -> Prepared:
    source = written(folder, "train.csv", {"id": np.arange(ROWS) // 2, "x": X, "y": Y})
    path = written(folder, "test.csv", test)
    return prepare(source=source, target=["y"], split={"test": str(path), **more})


def test_a_file_has_the_test_rows(tmp_path: Path) -> None:
    test = {"id": np.arange(30) + 1000, "x": np.arange(30), "y": np.arange(30) % 2}
    prepared = files(tmp_path, test)
    assert (
        prepared.splits["test"]["x"].tolist() == list(range(30))
        and prepared.splits["train"]["x"].dtype == float
    )
    assert prepared.summary["rows"] == {"train": 360, "validation": 40, "test": 30}
    assert not [one for one in prepared.summary["warnings"] if "too good" in one]


def test_rows_and_groups_of_two_files_are_told(tmp_path: Path) -> None:
    test = {"id": [0, 1, 500], "x": [X[0], 1.0, 2.0], "y": [Y[0], 0, 1]}
    prepared = files(tmp_path, test, group="id")
    told = " ".join(prepared.summary["warnings"])
    assert "2 groups have test rows and training or validation rows" in told
    known = prepare(
        source=tmp_path / "train.csv",
        target=["y"],
        inputs=[{"name": "x"}],
        split={"test": str(tmp_path / "test.csv")},
    )
    assert "1 of 3 test rows are training rows too" in " ".join(known.summary["warnings"])
    assert prepared.summary["split"]["group"] == "id" and prepared.summary["split"]["test"] == 3


def test_the_summary_names_the_times(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", {"x": X, "when": DAYS, "y": Y})
    prepared = prepare(source=path, target=["y"], split={"time": "when"})
    found = prepared.summary["split"]
    assert found["time"] == "when" and found["train"][0] == min(DAYS) and found["test"][1] == max(DAYS)
    assert [field.name for field in prepared.schema.inputs] == ["x"]
    named = prepare(
        source=path,
        target=["y"],
        inputs=[{"name": "x"}, {"name": "when", "kind": "date"}],
        split={"time": "when"},
    )
    assert [field.name for field in named.schema.inputs] == ["x", "when"]


@pytest.mark.parametrize(
    ("more", "stated", "sentence"),
    [
        (
            {"when": np.zeros(ROWS)},
            {"time": "when"},
            "400 rows of 1 different times are too few for test rows",
        ),
        (
            {"when": np.array([*DAYS[1:], None], object)},
            {"time": "when"},
            r"'when' is missing in 1 of 400 rows.* row 400",
        ),
        ({"when": np.append(X[1:], np.nan)}, {"time": "when"}, "'when' is missing in 1 of 400 rows"),
        (
            {"when": np.array([*DAYS[1:], "soon"], object)},
            {"time": "when"},
            "holds 'soon', whose order in time is not",
        ),
        (
            {"when": np.array(["01/02/2025"] * ROWS, object)},
            {"time": "when"},
            "holds '01/02/2025', whose order",
        ),
        ({"when": np.zeros((ROWS, 2))}, {"time": "when"}, r"rows of shape \(2,\); expected one time per row"),
        (
            {"g": np.append(X[1:], np.nan)},
            {"group": "g"},
            "'g' is missing in 1 of 400 rows, first in row 400",
        ),
        ({"g": np.arange(ROWS) % 2}, {"group": "g"}, "2 groups, for 3 parts; expected a group for each"),
        ({"when": DAYS}, {"time": "when", "test": 0.6, "validation": 0.5}, "sum below 1"),
        (
            {},
            {"times": "when"},
            "data.split has times; expected validation, test, seed, folds, time, group, column",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused(more: Columns, stated: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SplitError, match=sentence):
        parts(more, **stated)


def test_a_class_of_later_rows_alone_is_refused() -> None:
    with pytest.raises(SplitError, match="class 2 is only in the test rows and cannot be learned"):
        parts({"when": np.arange(ROWS)}, np.where(np.arange(ROWS) > 390, 2, Y), time="when")


def test_a_column_that_says_something_else_is_refused(tmp_path: Path) -> None:
    words = np.array(["train", "test", "holdout"], object)[np.arange(ROWS) % 3]
    path = written(tmp_path, "rows.csv", {"x": X, "part": words, "y": Y})
    with pytest.raises(
        SplitError, match="'part' holds 'holdout' in row 3 and names no part in 133 of 400 rows"
    ):
        prepare(source=path, target=["y"], split={"column": "part"})


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ({"time": "whenn"}, "data.split.time 'whenn' is not a column of the data.* did you mean 'when'"),
        ({"group": "y"}, "data.split.group is 'y', which is the target"),
        ({"test": "none.csv"}, "none.csv does not exist"),
    ],
)
def test_columns_and_files_that_are_not_there(tmp_path: Path, split: dict[str, Any], sentence: str) -> None:
    path = written(tmp_path, "rows.csv", {"x": X, "when": DAYS, "y": Y})
    with pytest.raises(DataError, match=sentence):
        prepare(source=path, target=["y"], split=split)


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test.csv has no id, unlike data.source; expected the same columns"):
        files(tmp_path, {"x": [1, 2], "y": [0, 1]})
    with pytest.raises(DataError, match=r"split.test .*test.csv: input or target 'y' is not a column"):
        prepare(
            source=tmp_path / "train.csv",
            target=["y"],
            inputs=[{"name": "x"}],
            split={"test": str(written(tmp_path, "test.csv", {"x": [1, 2]}))},
        )
