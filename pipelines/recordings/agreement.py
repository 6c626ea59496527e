"""Whether two answers to the same row say the same. Pure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.preprocessing.schema import Target

OVERLAP = 0.5  # of two boxes, the intersection over the union


def agreements(
    target: Target, recorded: Sequence[Any], answers: Sequence[Any], tolerance: float
) -> list[bool]:
    """Which rows are answered alike.

    A class, a set of labels and a text must be the same; of a class at each place or token, or of a mask's whole
    numbers, a share of places may differ; numbers may differ by a share of the spread of the recorded ones (their
    standard deviation, in a row with several the root of the mean square); boxes must be as many, and each overlap one
    of its label by half. Of several outputs all must agree.

    Args:
        target: of the model that answers.
        recorded: answers as `/predict` gives them.
        answers: to the same rows; None for one that was refused.
        tolerance: the share.
    """
    if target.outputs is not None:
        of_each = [
            agreements(one, _parts(recorded, one.name), _parts(answers, one.name), tolerance)
            for one in target.outputs
        ]
        return [all(found) for found in zip(*of_each, strict=True)]
    spread = _spread(recorded)
    return [
        _agree(target, known, answer, tolerance, spread)
        for known, answer in zip(recorded, answers, strict=True)
    ]


def _parts(answers: Sequence[Any], name: str) -> list[Any]:
    return [answer.get(name) if isinstance(answer, dict) else None for answer in answers]


def _agree(target: Target, known: Any, answer: Any, tolerance: float, spread: float) -> bool:
    if known is None or answer is None:
        return False
    try:
        if target.task == "classification":
            return bool(known["label"] == answer["label"])
        if target.task == "multilabel":
            return set(known["labels"]) == set(answer["labels"])
        if target.task == "generation":
            return bool(known["text"] == answer["text"])
        if target.task == "anomaly":
            return bool(known["anomaly"] == answer["anomaly"])
        if target.task == "detection":
            return _boxes_agree(known["boxes"], answer["boxes"])
        if target.task in ("tagging", "segmentation"):
            places = "mask" if "mask" in known else "labels"
            return _share_of_others(known[places], answer[places]) <= tolerance
        difference = _numbers(answer) - _numbers(known)
    except (KeyError, TypeError, ValueError):  # the two releases answer in different forms
        return False
    return float(np.sqrt(np.mean(difference**2))) <= tolerance * spread


def _numbers(answer: Any) -> NDArray[np.float64]:
    """The numbers of an answer, `(k,)`: of a forecast the median of each step."""
    return np.asarray(answer["forecast"] if isinstance(answer, dict) else answer, np.float64).reshape(-1)


def _spread(recorded: Sequence[Any]) -> float:
    """The standard deviation of recorded numbers; where all are the same, how large they are. 0 of other answers."""
    found = []
    for answer in recorded:
        try:
            found.append(_numbers(answer))
        except (KeyError, TypeError, ValueError):
            continue
    if not found:
        return 0.0
    numbers = np.concatenate(found)
    return float(numbers.std()) or float(np.abs(numbers).mean())


def _share_of_others(known: Any, answer: Any) -> float:
    """Of the labels at places or tokens, the share that differs; 1 where there are not as many."""
    ours, theirs = np.asarray(known, object), np.asarray(answer, object)
    if ours.shape != theirs.shape:
        return 1.0
    return float((ours != theirs).mean()) if ours.size else 0.0


def _boxes_agree(known: list[dict[str, Any]], answer: list[dict[str, Any]]) -> bool:
    if len(known) != len(answer):
        return False
    left = list(answer)
    for box in known:
        same = [other for other in left if other["label"] == box["label"]]
        best = max(same, key=lambda other: _overlap(box["box"], other["box"]), default=None)
        if best is None or _overlap(box["box"], best["box"]) < OVERLAP:
            return False
        left.remove(best)
    return True


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of boxes `[left, top, right, bottom]`."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if not math.isclose(areas, common) else 0.0
