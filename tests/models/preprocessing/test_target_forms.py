"""What form a target has: several outputs, a class or a number at each place of an array."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import DataError
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.target.answers import as_answers, scales_of
from tidegate.models.preprocessing.target.encode_target import encode_target

ROWS = 60
RANDOM = np.random.default_rng(3)
COLUMNS: dict[str, Any] = {
    "x": RANDOM.normal(size=ROWS),
    "animal": np.array(["cat", "dog", "bird"])[np.arange(ROWS) % 3],
    "weight": RANDOM.normal(50, 20, ROWS),
    "sold": np.arange(ROWS) % 2,
    "mask": RANDOM.integers(0, 3, (ROWS, 4, 5)).astype(np.uint8),
    "clean": RANDOM.random((ROWS, 4, 5)).astype(np.float32),
    "steps": RANDOM.integers(0, 4, (ROWS, 6)),
}


def _prepared(folder: Path, target: list[Any], task: str | None = None) -> Prepared:
    np.savez(folder / "d.npz", **COLUMNS)
    return prepare(source=folder / "d.npz", inputs=[{"name": "x"}], target=target, task=task)


def test_columns_of_several_kinds_are_outputs_in_the_order_of_their_names(tmp_path: Path) -> None:
    prepared = _prepared(tmp_path, ["weight", "animal"])
    target = prepared.schema.target
    assert (target.task, target.names) == ("multioutput", ("weight", "animal"))
    assert [(one.name, one.task, one.units) for one in target.outputs or ()] == [
        ("animal", "classification", 3),
        ("weight", "regression", 1),
    ]
    rows = prepared.splits["test"]
    learned = encode_target(prepared.schema, rows)
    assert [("bird", "cat", "dog")[int(place)] for place in learned[:, 0]] == rows["animal"].tolist()
    np.testing.assert_allclose(learned[:, 1], rows["weight"], rtol=1e-6)
    assert prepared.summary["outputs"]["animal"]["classes"]["cat"]["train"] > 0
    assert any("columns of several kinds" in sentence for sentence in prepared.summary["warnings"])


def test_each_output_may_state_its_task(tmp_path: Path) -> None:
    stated = [
        {"name": "sold", "task": "regression"},
        {"name": "animal"},
        {"name": "mask", "task": "segmentation"},
    ]
    target = _prepared(tmp_path, stated).schema.target
    assert {one.name: (one.task, one.units) for one in target.outputs or ()} == {
        "animal": ("classification", 3),
        "mask": ("segmentation", 60),
        "sold": ("regression", 1),
    }
    assert target.units == 64


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("mask", "classification", ("segmentation", (0, 1, 2), (4, 5))),
        ("mask", None, ("segmentation", (0, 1, 2), (4, 5))),
        ("mask", "regression", ("regression", (), (4, 5))),
        ("clean", "classification", ("regression", (), (4, 5))),  # binary_crossentropy of numbers from 0 to 1
        ("steps", "segmentation", ("segmentation", (0, 1, 2, 3), (6,))),
    ],
)
def test_an_array_a_row_keeps_its_shape(tmp_path: Path, name: str, task: str | None, expected: Any) -> None:
    prepared = _prepared(tmp_path, [name], task)
    target = prepared.schema.target
    assert (target.task, target.classes, target.shape) == expected
    rows = prepared.splits["test"]
    np.testing.assert_array_equal(encode_target(prepared.schema, rows), rows[name])


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        (
            ["steps"],
            "classification",
            "set data.task: regression to learn the numbers, segmentation for a class at each",
        ),
        (["clean"], "segmentation", "expected a class number at each place"),
        (["animal"], "multioutput", "expected two outputs or more"),
        (["animal", "steps"], None, "'steps' holds arrays of 6 numbers and is one of several outputs"),
        (["animal", "wieght"], None, "did you mean 'weight'"),
    ],
)
def test_what_has_no_such_form_is_refused_in_words(
    tmp_path: Path, target: list[str], task: str | None, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        _prepared(tmp_path, target, task)


def test_one_sigmoid_is_two_probabilities_also_among_outputs_and_at_places(tmp_path: Path) -> None:
    several = _prepared(
        tmp_path, [{"name": "sold", "task": "classification"}, "animal", "weight"]
    ).schema.target
    raw = np.array([[0.2, 0.3, 0.5, 0.9, 7.0]], np.float32)  # animal, sold as one sigmoid, weight
    np.testing.assert_allclose(as_answers(several, raw), [[0.2, 0.3, 0.5, 0.1, 0.9, 7.0]], atol=1e-6)
    assert scales_of(several, as_answers(several, raw)).tolist() == [1, 1, 1, 1, 1, 7]
    COLUMNS["pair"] = (COLUMNS["mask"] > 0).astype(np.uint8)
    mask = _prepared(tmp_path, ["pair"], "segmentation").schema.target
    wide = as_answers(mask, np.full((2, 4, 5, 1), 0.25, np.float32))
    assert wide.shape == (2, 40) and wide[0, :4].tolist() == [0.75, 0.25, 0.75, 0.25]
