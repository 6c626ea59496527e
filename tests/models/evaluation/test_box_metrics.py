"""Average precision beside a slow reference, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.data.box_column import RowBoxes
from tidegate.models.data.box_geometry import iou
from tidegate.models.evaluation.box_metrics import LIMITS, average_precision, evaluate_boxes

LABELS = ("a", "b", "unused")


def slow_precision(
    found: list[np.ndarray], truth: list[RowBoxes], place: int, label: str, limit: float
) -> float:
    """By the definition, one box after the other: at each of 101 recalls the best precision from there on."""
    ranked = []
    for image, boxes in enumerate(found):
        own = [box for box in boxes.tolist() if box[0] == place]
        own.sort(key=lambda box: -box[1])
        ranked += [(box[1], image, box[2:]) for box in own[:100]]
    ranked.sort(key=lambda one: -one[0])
    left = [
        [box for name, box in zip(cell.labels, cell.boxes.tolist(), strict=True) if name == label]
        for cell in truth
    ]
    total = sum(map(len, left))
    points, hits = [], 0
    for count, (_, image, box) in enumerate(ranked, 1):
        shared = [iou(np.array([box]), np.array([other]))[0, 0] for other in left[image]]
        if shared and max(shared) >= limit:
            left[image].pop(shared.index(max(shared)))
            hits += 1
        points.append((hits / total, hits / count))
    read = [
        max((precision for recall, precision in points if recall >= asked), default=0.0)
        for asked in np.linspace(0, 1, 101).tolist()  # as COCO's own code rounds them
    ]
    return sum(read) / 101


def scene(random: np.random.Generator) -> tuple[np.ndarray, RowBoxes]:
    """Boxes that are there, and others near them, or anywhere, with random scores and labels."""
    corner = random.uniform(0, 60, (int(random.integers(0, 7)), 2))
    boxes = np.concatenate([corner, corner + random.uniform(8, 30, corner.shape)], axis=1)
    places = random.integers(0, 2, len(boxes))
    near = np.repeat(boxes, 2, axis=0) + random.normal(0, 3, (2 * len(boxes), 4))
    spare = random.uniform(0, 60, (3, 2))
    near = np.concatenate([near, np.concatenate([spare, spare + 20], axis=1)])
    said = np.concatenate([np.repeat(places, 2), random.integers(0, 2, 3)])
    said = np.where(random.random(len(said)) < 0.1, 1 - said, said)
    found = np.column_stack([said, random.random(len(near)), near])
    return found[np.argsort(-found[:, 1])], RowBoxes(tuple(LABELS[place] for place in places), boxes)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_definition_s(seed: int) -> None:
    random = np.random.default_rng(seed)
    found, truth = map(list, zip(*(scene(random) for _ in range(12)), strict=True))
    expected = [
        [slow_precision(found, truth, place, label, limit) for limit in LIMITS]
        for place, label in enumerate(LABELS[:2])
    ]
    values = evaluate_boxes(found, truth, LABELS)
    assert values["map50"] == pytest.approx(np.mean(expected, axis=0)[0])
    assert values["map"] == pytest.approx(np.mean(expected))
    assert 0.1 < values["map50"] < 1


BOX = np.array([[0.0, 0, 10, 10]])
FAR = np.array([[50.0, 50, 60, 60]])
HALF = np.array([[0.0, 0, 10, 20]])  # overlaps BOX by exactly 0.5


@pytest.mark.parametrize(
    ("scores", "found", "there", "expected"),
    [
        ([0.9], BOX, BOX, 1.0),
        ([], BOX[:0], BOX, 0.0),
        ([0.9], FAR, BOX, 0.0),
        ([0.9], HALF, BOX, 1.0),  # the limit itself counts
        ([0.9, 0.8], np.concatenate([BOX, BOX]), BOX, 1.0),  # a second one comes after all recall is reached
        ([0.9, 0.8], np.concatenate([FAR, BOX]), BOX, 0.5),
        # One of two is found first: recalls 0 to 0.50 are 51 of 101.
        ([0.9], BOX, np.concatenate([BOX, FAR]), 51 / 101),
        # Right, wrong, right: precision 1 up to recall 0.5, then 2/3.
        (
            [0.9, 0.8, 0.7],
            np.concatenate([BOX, BOX, FAR]),
            np.concatenate([BOX, FAR]),
            (51 + 50 * 2 / 3) / 101,
        ),
    ],
)
def test_it_by_hand(scores: list[float], found: np.ndarray, there: np.ndarray, expected: float) -> None:
    value = average_precision([np.array(scores)], [found], [there], 0.5)
    assert value == pytest.approx(expected)


def test_only_a_hundred_boxes_of_an_image_count_and_images_are_joined_by_score() -> None:
    many = np.column_stack([np.zeros(101), np.linspace(1, 0.5, 101), np.tile(FAR, (101, 1))])
    many[100, 2:] = BOX
    assert evaluate_boxes([many], [RowBoxes(("a",), BOX)], ("a",))["map50"] == 0
    many[99, 2:] = BOX
    assert evaluate_boxes([many], [RowBoxes(("a",), BOX)], ("a",))["map50"] == pytest.approx(1 / 100)
    sure, unsure = (np.array([[0, score, 0, 0, 10, 10]]) for score in (0.9, 0.2))
    cells = [RowBoxes((), np.zeros((0, 4))), RowBoxes(("a",), BOX)]
    assert evaluate_boxes([sure, unsure], cells, ("a",))["map50"] == pytest.approx(0.5)
    assert evaluate_boxes([unsure, sure], cells, ("a",))["map50"] == 1
    assert evaluate_boxes([sure], cells[:1], ("a",)) == {}
