"""How good boxes are that were found: average precision as COCO defines it, in NumPy.

Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, with the evaluation's rules as at
https://cocodataset.org/#detection-eval: all areas, at most 100 boxes an image and class, the precision read at 101
recalls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_column import Cell
from tidegate.models.data.box_geometry import overlaps
from tidegate.models.data.columns import Columns
from tidegate.models.decoding.detections import detect
from tidegate.models.decoding.settings import Detection
from tidegate.models.preprocessing.box_target import Boxes

# No pycocotools: an extension in C to be built, with files of its own format between, for one figure.
MOST = 100  # boxes of an image that count
LEAST_SCORE = (
    0.01  # from which a box counts: the whole curve of precision and recall is wanted, not what people see
)
RECALLS = np.linspace(0, 1, 101)
LIMITS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())

Floats = NDArray[np.floating]


def judge_boxes(answered: Floats, boxes: Boxes, columns: Columns, detection: Detection) -> dict[str, float]:
    """`map50` and `map` of a model's raw answers to rows; nothing where no row has a box.

    Args:
        answered: `(n, default boxes, units)`.
        boxes: the default boxes.
        columns: the rows, with the target.
        detection: how much boxes may overlap; its score and number are not those that count here.
    """
    truth = boxes.truth(columns)
    settings = detection.model_copy(update={"score": LEAST_SCORE, "max_boxes": MOST})
    sizes = np.tile(np.array(boxes.size), (len(truth), 1))
    found = detect(answered, boxes, settings, sizes)
    return evaluate_boxes([one[one[:, 0] >= 0] for one in found], truth, boxes.labels)


def evaluate_boxes(found: Sequence[Floats], truth: Sequence[Cell], labels: Sequence[str]) -> dict[str, float]:
    """`map50`, the mean average precision where boxes overlap by half, and `map`, over 0.5, 0.55 … 0.95.

    Args:
        found: of each image `(k, 6)`: class position, score, left, top, right, bottom.
        truth: the boxes that are there.
        labels: the classes; one without any box in these images counts for nothing.
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
    found: Sequence[Floats], truth: Sequence[Cell], place: int, label: str
) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Scores, boxes found and boxes that are there of one class, each a list over images."""
    own = [one[one[:, 0] == place] for one in found]
    own = [one[np.argsort(-one[:, 1], kind="stable")[:MOST]] for one in own]
    there = [cell.boxes[np.array(cell.labels, object) == label] for cell in truth]
    return [one[:, 1] for one in own], [one[:, 2:] for one in own], there


def average_precision(
    scores: Sequence[Floats], found: Sequence[Floats], there: Sequence[Floats], limit: float
) -> float:
    """The average precision of one class at one overlap; each list has an entry an image.

    The best box found takes the box that it overlaps most and by at least `limit`, of those that no better one has
    taken. Of all images together, by falling score, the precision at a recall is the best that is reached at that
    recall or a higher one.

    Args:
        scores: `(k,)` each, falling.
        found: `(k, 4)` each, left, top, right, bottom.
        there: `(m, 4)` each; at least one box in all.
        limit: the overlap asked for.
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
    """Which of the boxes found in one image, the best first, take a box that is there."""
    right = np.zeros(len(found), np.bool_)
    shared = overlaps(found, there)
    for place in range(len(found) if len(there) else 0):
        best = int(shared[place].argmax())
        if shared[place, best] >= limit:
            right[place] = True
            shared[:, best] = -1
    return right
