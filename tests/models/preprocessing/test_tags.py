"""A label for each token: rows of their own lengths, what is refused, and entities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.config.losses import loss_named
from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import DataError, OptionsError, SchemaError
from tidegate.models.evaluation.targets import evaluate_target
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.encode_target import encoded
from tidegate.models.preprocessing.target.tags import entities

TARGET = [{"name": "tags", "kind": "tags"}]
INPUTS = [{"name": "words", "kind": "tokens"}]
SENTENCES = (
    (["Ann", "met", "Bob"], ["B-PER", "O", "B-PER"]),
    (["In", "New", "York"], ["O", "B-LOC", "I-LOC"]),
    (["Nothing"], ["O"]),
    (["Ann", "Lee", "left", "New", "York"], ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]),
)


def written(folder: Path, rows: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(count: int = 40) -> list[dict[str, Any]]:
    pairs = [SENTENCES[row % 4] for row in range(count)]
    return [{"words": [*words, str(row)], "tags": [*tags, "O"]} for row, (words, tags) in enumerate(pairs)]


def prepared_of(path: Path, **more: Any) -> Prepared:
    asked = {"inputs": INPUTS, "target": TARGET} | more
    with recorded():
        return prepare(source=path, **asked)


def test_a_row_has_as_many_labels_as_tokens(tmp_path: Path) -> None:
    prepared = prepared_of(written(tmp_path, rows()))
    target = prepared.schema.target
    assert (target.task, target.shape) == ("tagging", (6,))
    assert target.classes == ("", "B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    assert prepared.transforms.input_specs["words"].shape == (6,)
    columns = {"words": np.array(["a b", "c"], object), "tags": np.array(['["O", "B-LOC"]', "O"], object)}
    assert encoded(target, columns).tolist() == [[5, 1, -1, -1, -1, -1], [5, -1, -1, -1, -1, -1]]
    assert prepared.summary["outputs"]["tags"]["shape"] == [6]


def test_csv_has_them_as_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"{' '.join(row['words'])},{' '.join(row['tags'])}" for row in rows()]
    path.write_text("\n".join(["words,tags", *lines]))
    stated, named = prepared_of(path), prepared_of(path, target=["tags"], task="tagging")
    assert stated.schema == named.schema and stated.schema.target.shape == (6,)


def test_longer_rows_are_cut_with_their_labels_and_told(tmp_path: Path) -> None:
    prepared = prepared_of(written(tmp_path, rows()), inputs=[{**INPUTS[0], "length": 4}])
    assert prepared.schema.target.shape == (4,)
    said = "rows of more than 4 words are cut there, labels too; the longest has 6"
    assert any(said in one for one in prepared.summary["warnings"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"row": {"words": ["a", "b"], "tags": ["O"]}}, "has 2 words and 1 labels in 'tags'"),
        ({"row": {"words": ["a"], "tags": [""]}}, "has an empty label"),
        ({"row": {"words": ["a"], "tags": [None]}}, "is a list with null in it"),
        (
            {"inputs": [{"name": "words", "kind": "ids"}]},
            "inputs are words .ids.; expected one of kind tokens",
        ),
        ({"target": [*TARGET, "more"], "row": {"more": 1}}, "expected one column of lists of labels|several"),
        ({"all": {"words": ["a"], "tags": ["O"]}}, "has the labels .'O'.; expected two or more"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    lines = [{**change["all"], "n": row} for row in range(30)] if "all" in change else rows(30)
    lines += [change["row"]] if "row" in change else []
    more = {key: change[key] for key in ("inputs", "target") if key in change}
    with pytest.raises(DataError, match=said):
        prepared_of(written(tmp_path, lines), **more)


def test_a_label_that_training_did_not_have_is_told() -> None:
    target = Target(names=("tags",), task="tagging", classes=("", "A", "O"), shape=(2,))
    with pytest.raises(SchemaError, match="has the label 'B'; expected one of A, O"):
        encoded(target, {"tags": np.array(["A B"], object)})


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ("O B-PER I-PER O", {(1, 3, "PER")}),
        ("B-PER B-PER I-LOC", {(0, 1, "PER"), (1, 2, "PER"), (2, 3, "LOC")}),
        ("I-PER I-PER O I-LOC", {(0, 2, "PER"), (3, 4, "LOC")}),
        ("B-PER E-PER S-PER", {(0, 2, "PER"), (2, 3, "PER")}),
        ("NOUN NOUN VERB", {(0, 2, "NOUN"), (2, 3, "VERB")}),
        ("O O", set()),
    ],
)
def test_entities_are_what_labels_mark(labels: str, found: set[tuple[int, int, str]]) -> None:
    assert entities(labels.split()) == found


def test_metrics_count_tokens_and_whole_entities_alone() -> None:
    """Two of three entities answered, one of them too short; seven tokens, of which one is wrong."""
    target = Target(names=("t",), task="tagging", classes=("", "B", "I", "O"), shape=(5,))
    target = target.model_copy(update={"classes": ("", "B-X", "I-X", "O")})
    truth = np.array([[1, 2, 3, 1, -1], [1, 2, 3, -1, -1]])
    chosen = np.array([[1, 2, 3, 1, 0], [1, 3, 3, 0, 0]])
    answers = np.where(np.eye(4)[chosen] > 0, 0.7, 0.1).reshape(2, -1)
    found = evaluate_target(target, truth, answers).values
    assert found["accuracy"] == pytest.approx(6 / 7)
    assert found["entity_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["loss"] == pytest.approx(-(6 * np.log(0.7) + np.log(0.1)) / 7)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 4 / 5) / 3)


def test_the_loss_leaves_padding_out_and_no_other_fits() -> None:
    assert loss_named(None, "tagging", 4).options == {"ignore_class": -1}
    with pytest.raises(OptionsError, match="does not fit a tagging"):
        loss_named("dice", "tagging", 4)
