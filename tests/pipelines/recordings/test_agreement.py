"""When two answers say the same."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate.models.preprocessing.schema import Target
from tidegate.pipelines.recordings.agreement import agreements
from tidegate.serving.contract.answers import predictions_of

NAMES = ("y",)


def boxes(*found: tuple[str, list[float]]) -> dict[str, Any]:
    return {"boxes": [{"label": label, "score": 0.9, "box": box} for label, box in found]}


def agree(target: Target, recorded: list[Any], answers: list[Any], tolerance: float = 0.05) -> list[bool]:
    return agreements(target, recorded, answers, tolerance)


def test_classes_and_labels() -> None:
    target = Target(names=NAMES, task="classification", classes=("a", "b"))
    known = [{"label": "a", "probability": 0.9}, {"label": "b"}, {"label": "b"}]
    assert agree(target, known, [{"label": "a", "probability": 0.6}, {"label": "a"}, None]) == [
        True,
        False,
        False,
    ]
    target = Target(names=NAMES, task="multilabel", classes=("a", "b"))
    assert agree(target, [{"labels": ["a", "b"]}] * 2, [{"labels": ["b", "a"]}, {"labels": []}]) == [
        True,
        False,
    ]
    target = Target(names=NAMES, task="tagging", classes=("", "O", "X"), shape=(30,))
    tags = ["O"] * 30
    given = [tags, ["X", *tags[1:]], ["X", "X", *tags[2:]], tags[1:]]
    answers = [{"labels": one} for one in given]
    assert agree(target, [{"labels": tags}] * 4, answers) == [True, True, False, False]


def test_masks_and_labels_of_pixels() -> None:
    def answered(values: NDArray[Any]) -> list[Any]:
        """As the model answers whose class at each pixel `(n, 4, 5)` is this."""
        return predictions_of(target, np.eye(2, dtype=np.float32)[values].reshape(len(values), -1))

    mask = np.zeros((4, 5), np.int64)
    other, very = mask.copy(), mask.copy()
    other[0, 0] = very[0, :2] = 1
    for values in (None, (0, 255)):
        target = Target(
            names=NAMES, task="segmentation", classes=("sky", "road"), values=values, shape=(4, 5)
        )
        known = answered(np.stack([mask] * 3))
        assert ("mask" in known[0]) == (values is not None)
        assert agree(target, known, answered(np.stack([mask, other, very]))) == [True, True, False]
    assert agree(target, known[:1], [{"labels": [["sky"] * 5] * 4, "probability": 1}]) == [False]


def test_numbers_within_a_share_of_their_spread() -> None:
    target = Target(names=NAMES, task="regression")
    assert agree(target, [0.0, 10.0], [0.2, 10.3]) == [True, False]  # the standard deviation is 5
    assert agree(target, [4.0, 4.0], [4.1, 5.0]) == [True, False]  # all the same
    assert agree(target, [[0.0, 10.0]] * 2, [[0.2, 10.2], [0.0]]) == [True, False]
    assert agree(target, [1.0, 2.0], [float("nan"), "2"]) == [False, True]


def test_forecasts_anomalies_and_texts() -> None:
    target = Target(names=NAMES, task="forecasting", quantiles=(0.1, 0.5, 0.9), shape=(2,))
    known = {"forecast": [0.0, 10.0], "quantiles": {}}
    assert agree(target, [known], [{"forecast": [0.1, 10.1]}]) == [True]
    target = Target(names=NAMES, task="anomaly", thresholds=(1.0,))
    assert agree(target, [{"score": 2.0, "anomaly": True}], [{"score": 1.5, "anomaly": True}]) == [True]
    target = Target(names=NAMES, task="generation")
    assert agree(target, [{"text": "a"}] * 2, [{"text": "a"}, {"text": "b"}]) == [True, False]


def test_boxes_overlap_by_half() -> None:
    target = Target(names=NAMES, task="detection", classes=("a", "b"))
    known = boxes(("a", [0, 0, 10, 10]), ("a", [20, 20, 30, 30]))
    others = [
        boxes(("a", [20, 21, 30, 30]), ("a", [0, 0, 10, 9])),
        boxes(("a", [0, 0, 10, 10]), ("b", [20, 20, 30, 30])),
        boxes(("a", [0, 0, 10, 10]), ("a", [26, 20, 36, 30])),
        boxes(("a", [0, 0, 10, 10])),
    ]
    assert agree(target, [known] * 4, others) == [True, False, False, False]


def test_of_several_outputs_all_agree() -> None:
    parts = (
        Target(names=("animal",), task="classification", classes=("cat", "dog")),
        Target(names=("price",), task="regression"),
    )
    target = Target(names=("animal", "price"), task="multioutput", outputs=parts)
    known = [{"animal": {"label": "cat"}, "price": price} for price in (0.0, 10.0, 5.0)]
    answers = [
        {"animal": {"label": "cat"}, "price": 0.1},
        {"animal": {"label": "dog"}, "price": 10.0},
        {"animal": {"label": "cat"}},
    ]
    assert agree(target, known, answers) == [True, False, False]


@pytest.mark.parametrize("answer", [1.0, "text", [], {"boxes": []}])
def test_another_form_of_answer_does_not_agree(answer: Any) -> None:
    target = Target(names=NAMES, task="classification", classes=("a", "b"))
    assert agree(target, [{"label": "a"}], [answer]) == [False]
