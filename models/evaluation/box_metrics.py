"""How good detections are: average precision as COCO defines it, in NumPy.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, with the rules of
https://cocodataset.org/#detection-eval: all areas, at most 100 boxes per image and class, the precision at 101 recall
values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_column import RowBoxes
from tidegate.models.data.box_geometry import iou
from tidegate.models.data.columns import Columns
from tidegate.models.decoding.detections import detect
from tidegate.models.decoding.settings import Detection
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.preprocessing.target.box_target import BoxTarget

# Not pycocotools: a C extension with its own file formats, for a single metric.
MOST = 100  # boxes per image that count
# Far below the endpoint's threshold, because the metric needs the whole precision-recall curve.
LEAST_SCORE = 0.01
RECALLS = np.linspace(0, 1, 101)
LIMITS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())

Floats = NDArray[np.floating]


def evaluate_answers(
    answered: Floats, boxes: BoxTarget, columns: Columns, detection: Detection
) -> Evaluation:
    """`map50` and `map` of a model's raw outputs; undefined if no row has a box.

    Args:
        answered: `(n, default boxes, units)`.
        boxes: the default boxes.
        columns: the rows, with the target.
        detection: its `iou` and `vote` are used; score and number of boxes are LEAST_SCORE and MOST here.
    """
    names, bad = ("map50", "map"), int((~np.isfinite(answered.reshape(len(answered), -1)).all(axis=1)).sum())
    truth = boxes.ground_truth(columns)
    if bad or not any(len(cell.boxes) for cell in truth):
        reason = f"{bad} of {len(answered)} answers are no finite numbers" if bad else "no row has a box"
        return Evaluation.without(names, reason)
    settings = detection.model_copy(update={"score": LEAST_SCORE, "max_boxes": MOST})
    sizes = np.tile(np.array(boxes.size), (len(truth), 1))
    found = detect(answered, boxes, settings, sizes)
    return Evaluation.of({**evaluate_boxes([one[one[:, 0] >= 0] for one in found], truth, boxes.labels)})


def evaluate_boxes(
    found: Sequence[Floats], truth: Sequence[RowBoxes], labels: Sequence[str]
) -> dict[str, float]:
    """`map50`, the mean average precision at an overlap of 0.5, and `map`, the mean over 0.5, 0.55 … 0.95.

    Args:
        found: for each image `(k, 6)`: class index, score, left, top, right, bottom.
        truth: the true boxes of each image.
        labels: the classes; a class without any true box is left out.
    """
    curves = [
        [average_precision(*_of_class(found, truth, place, label), limit) for limit in LIMITS]
        for place, label in enumerate(labels)
        if any(label in cell.labels for cell in truth)
    ]
    if not curves:
        return {}
    means = np.mean(curves, axis=0)
    return {"map50": float(means[0]), "map": float(means.mean())}


def _of_class(
    found: Sequence[Floats], truth: Sequence[RowBoxes], place: int, label: str
) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Scores, found boxes and true boxes of one class, each a list over images."""
    own = [one[one[:, 0] == place] for one in found]
    own = [one[np.argsort(-one[:, 1], kind="stable")[:MOST]] for one in own]
    there = [cell.boxes[np.array(cell.labels, object) == label] for cell in truth]
    return [one[:, 1] for one in own], [one[:, 2:] for one in own], there


def average_precision(
    scores: Sequence[Floats], found: Sequence[Floats], there: Sequence[Floats], limit: float
) -> float:
    """The average precision of one class at one overlap; each list has one entry per image.

    The found boxes, the best first, are matched to the true box that they overlap most, by at least `limit`, among
    those that are not matched yet. Over all images, by falling score, the precision at a recall is the best precision
    at that recall or a higher one.

    Args:
        scores: `(k,)` each, falling.
        found: `(k, 4)` each, left, top, right, bottom.
        there: the true boxes, `(m, 4)` each; at least one in total.
        limit: the required overlap.
    """
    right = [_taken(boxes, true, limit) for boxes, true in zip(found, there, strict=True)]
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.concatenate(right)[order])
    recall = hits / sum(len(true) for true in there)
    precision = hits / np.arange(1, len(hits) + 1)
    reached = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(reached, 0.0)[places].mean())


def _taken(found: Floats, there: Floats, limit: float) -> NDArray[np.bool_]:
    """Which of the boxes found in one image, the best first, match a true box."""
    right = np.zeros(len(found), np.bool_)
    shared = iou(found, there)
    for place in range(len(found) if len(there) else 0):
        best = int(shared[place].argmax())
        if shared[place, best] >= limit:
            right[place] = True
            shared[:, best] = -1
    return right
