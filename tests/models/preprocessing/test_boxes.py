"""Boxes as a target: cells, default boxes, what is answered for them, and decoding beside a slow reference."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.box_column import format_boxes, parse_boxes
from tidegate.models.data.box_geometry import iou
from tidegate.models.data.columns import Columns
from tidegate.models.data.default_boxes import Grid
from tidegate.models.decoding.detections import NO_BOX, detect
from tidegate.models.decoding.settings import Detection
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.target.box_target import (
    BoxTarget,
    apply_offsets,
    default_boxes,
    match_default_boxes,
    offsets_of,
)
from tidegate.models.preprocessing.transforms import Transforms

SIZE = (40, 60)


def column(*cells: Any) -> np.ndarray:
    texts = np.empty(len(cells), object)
    texts[:] = [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
    return texts


def boxed(label: str, *box: float) -> dict[str, Any]:
    return {"label": label, "box": list(box)}


def fitted(rows: int = 20) -> tuple[BoxTarget, Columns]:
    """Default boxes learned from random rows of two labels."""
    random = np.random.default_rng(0)
    cells = []
    for _ in range(rows):
        corner, side = random.uniform(0, 30, (3, 2)), random.uniform(5, 25, (3, 2))
        boxes = np.concatenate([corner, np.minimum(corner + side, [60, 40])], axis=1)
        cells.append([boxed(str(random.choice(["a", "b"])), *box) for box in boxes.tolist()])
    columns: Columns = {
        "image": random.integers(0, 256, (rows, *SIZE, 3)).astype(np.uint8),
        "boxes": column(*cells),
    }
    schema = infer_schema(columns, None, ["boxes"], "detection")
    boxes = Transforms.fit(schema, columns).box_target
    assert boxes is not None
    return boxes, columns


def test_a_cell_is_what_was_written() -> None:
    text = format_boxes(["æ", "b"], [[1, 2, 3.5, 4], [0, 0, 60, 40]])
    assert text == '[{"label": "æ", "box": [1, 2, 3.5, 4]}, {"label": "b", "box": [0, 0, 60, 40]}]'
    (cell,) = parse_boxes("boxes", column(text), SIZE)
    assert cell.labels == ("æ", "b")
    np.testing.assert_array_equal(cell.boxes, [[1, 2, 3.5, 4], [0, 0, 60, 40]])
    (empty,) = parse_boxes("boxes", column([]), SIZE)
    assert empty.labels == () and empty.boxes.shape == (0, 4)


def test_what_lies_outside_of_the_image_is_cut_off() -> None:
    (cell,) = parse_boxes("boxes", column([boxed("a", -5, 30, 90, 50)]), SIZE)
    np.testing.assert_array_equal(cell.boxes, [[0, 30, 60, 40]])


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([boxed("a", 5, 5, 5, 9)], "row 1 .*the box 5, 5, 5, 9 has no area; expected left < right"),
        ([boxed("a", 9, 5, 5, 9)], "has no area"),
        ([boxed("a", 60, 5, 70, 9)], "lies outside of its image of 60x40 pixels"),
        ([boxed("a", 1, 2, 3)], "is not four numbers"),
        ([boxed("a", 1, 2, 3, math.inf)], "is not four numbers"),
        ([boxed("", 1, 2, 3, 4)], "the label '' is not a text"),
        ([{"box": [1, 2, 3, 4]}], "is not a list of boxes"),
        ([{"label": 3, "box": [1, 2, 3, 4]}], "the label 3 is not a text"),
        ("{", "is not a list of boxes"),
        ("7", "is not a list of boxes"),
    ],
)
def test_what_is_no_box_is_told_with_its_row(cell: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        parse_boxes("boxes", column([], cell), SIZE)


def test_a_schema_of_boxes() -> None:
    image = np.zeros((2, *SIZE, 3), np.uint8)
    columns: Columns = {"image": image, "boxes": column([boxed("b", 1, 1, 9, 9)], [])}
    target = infer_schema(columns, None, ["boxes"], "detection").target
    assert target.task == "detection" and target.classes == ("b",)
    with pytest.raises(SchemaError, match="has no box in any of 2 rows"):
        infer_schema(columns | {"boxes": column([], [])}, None, ["boxes"], "detection")
    with pytest.raises(
        SchemaError, match=r"the task is detection and the inputs are image .*, n \(numeric\)"
    ):
        infer_schema(columns | {"n": np.zeros(2)}, None, ["boxes"], "detection")
    with pytest.raises(SchemaError, match="has kind boxes and holds numbers"):
        infer_schema({"image": image, "boxes": np.zeros(2)}, None, ["boxes"], "detection")


def test_default_boxes_are_their_own_mirror_image_and_have_the_boxes_sizes() -> None:
    boxes, columns = fitted()
    height, width = SIZE
    flat = {tuple(box) for box in boxes.defaults.round(6).tolist()}
    left, top, right, bottom = boxes.defaults.T
    for mirrored in (
        np.stack([width - right, top, width - left, bottom], axis=1),
        np.stack([left, height - bottom, right, height - top], axis=1),
    ):
        assert {tuple(box) for box in mirrored.round(6).tolist()} == flat
    assert [grid.stride for grid in boxes.grids] == sorted(grid.stride for grid in boxes.grids)
    truth = np.concatenate([cell.boxes for cell in boxes.ground_truth(columns)])
    assert (iou(truth, boxes.defaults).max(axis=1) >= 0.5).mean() > 0.9
    again = BoxTarget(**json.loads(json.dumps(boxes.content)))
    np.testing.assert_array_equal(again.defaults, boxes.defaults)


def test_default_boxes_lie_from_the_top_left_on() -> None:
    found = default_boxes([Grid(8, ((4.0, 2.0), (8.0, 8.0)))], (10, 16))  # two places down, two across
    assert len(found) == 8
    np.testing.assert_allclose(found[:3], [[2, 1.5, 6, 3.5], [0, -1.5, 8, 6.5], [10, 1.5, 14, 3.5]])


def slow_match(boxes: np.ndarray, defaults: np.ndarray) -> list[int]:
    """One pair after the other."""
    pairs = [
        (iou(boxes[[box]], defaults[[place]])[0, 0], box, place)
        for box in range(len(boxes))
        for place in range(len(defaults))
    ]
    matched = [-1] * len(defaults)
    for place in range(len(defaults)):
        shared, box, _ = max(
            (pair for pair in pairs if pair[2] == place),
            key=lambda pair: (pair[0], -pair[1]),
            default=(0, 0, 0),
        )
        matched[place] = box if shared >= 0.5 else -1
    left = set(range(len(boxes)))
    free = set(range(len(defaults)))
    while left:
        _, box, place = max(
            (pair for pair in pairs if pair[1] in left and pair[2] in free),
            key=lambda pair: (pair[0], -pair[1], -pair[2]),
        )
        matched[place] = box
        left.remove(box)
        free.remove(place)
    return matched


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_that_of_pair_after_pair(seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 30, (4, 2))
    boxes = np.concatenate([corner, corner + random.uniform(4, 16, (4, 2))], axis=1)
    defaults = default_boxes([Grid(8, ((8.0, 8.0), (14.0, 10.0)))], SIZE)
    assert match_default_boxes(boxes, defaults).tolist() == slow_match(boxes, defaults)
    assert match_default_boxes(boxes[:0], defaults).tolist() == [-1] * len(defaults)


def test_every_box_is_wanted_and_comes_back_from_its_offsets() -> None:
    boxes, columns = fitted()
    wanted = boxes.encode(columns)
    assert wanted.shape == (20, len(boxes.defaults), 5) and wanted.dtype == np.float32
    for row, cell in enumerate(boxes.ground_truth(columns)):
        taken = wanted[row, :, 0] > 0
        back = apply_offsets(wanted[row, taken, 1:], boxes.defaults[taken])
        nearest = np.abs(back[:, None] - cell.boxes[None]).max(axis=2)
        assert nearest.min(axis=1).max() < 1e-4 and nearest.min(axis=0).max() < 1e-4
        labels = [boxes.labels[int(place) - 1] for place in wanted[row, taken, 0]]
        assert labels == [cell.labels[box] for box in nearest.argmin(axis=1)]
    np.testing.assert_allclose(
        offsets_of(np.array([[2.0, 2, 10, 6]]), np.array([[0.0, 0, 8, 4]])), [[2.5, 5, 0, 0]]
    )


def slow_detect(
    answered: np.ndarray, boxes: BoxTarget, settings: Detection, size: tuple[int, int]
) -> list[Any]:
    """One default box, one class and one pair of boxes at a time."""
    found = []
    for place, (left, top, right, bottom) in enumerate(boxes.defaults.tolist()):
        numbers = answered[place].tolist()
        logits, (dx, dy, dw, dh) = numbers[:-4], numbers[-4:]
        powers = [math.exp(value - max(logits)) for value in logits]
        wide, high = right - left, bottom - top
        x, y = (left + right) / 2 + 0.1 * dx * wide, (top + bottom) / 2 + 0.1 * dy * high
        wide, high = wide * math.exp(0.2 * dw), high * math.exp(0.2 * dh)
        sx, sy = size[1] / boxes.size[1], size[0] / boxes.size[0]
        box = [(x - wide / 2) * sx, (y - high / 2) * sy, (x + wide / 2) * sx, (y + high / 2) * sy]
        box = [min(max(value, 0), limit) for value, limit in zip(box, [size[1], size[0]] * 2, strict=True)]
        for label in range(len(boxes.labels)):
            score = powers[1 + label] / sum(powers)
            if score >= settings.score:
                found.append((score, label, place, box))
    found.sort(key=lambda one: (one[1], -one[0], one[2]))
    kept: list[Any] = []
    for one in found:
        rivals = [other for other in kept if other[1] == one[1]]
        if all(iou(np.array([one[3]]), np.array([other[3]]))[0, 0] <= settings.iou for other in rivals):
            kept.append(one)
    kept = [one for one in kept if one[3][2] > one[3][0] and one[3][3] > one[3][1]]
    if settings.vote is not None:
        kept = [(*one[:3], slow_vote(one, found, settings.vote)) for one in kept]
    kept.sort(key=lambda one: (-one[0], one[1], one[2]))
    return kept[: settings.max_boxes]


def slow_vote(kept: Any, found: list[Any], limit: float) -> list[float]:
    """The mean box of one box's voters, one after the other."""
    whole, votes = [0.0] * 4, 0.0
    for score, label, _, box in found:
        if label == kept[1] and iou(np.array([kept[3]]), np.array([box]))[0, 0] >= limit:
            whole = [known + score * value for known, value in zip(whole, box, strict=True)]
            votes += score
    return [value / votes for value in whole]


@pytest.mark.parametrize(
    "settings",
    [
        Detection(score=0.4, iou=0.3, max_boxes=50),
        Detection(score=0.2, iou=0.3, vote=0.4, max_boxes=50),
        Detection(score=0.0, iou=0.5, max_boxes=7),
        Detection(score=0.9, iou=1.0, max_boxes=100),
    ],
)
def test_detecting_is_that_of_box_after_box(settings: Detection) -> None:
    boxes = BoxTarget("boxes", ["a", "b"], SIZE, [{"stride": 16, "shapes": [[12, 12], [20, 16]]}])
    random = np.random.default_rng(7)
    answered = (random.normal(size=(6, len(boxes.defaults), 7)) * 2).astype(np.float32)
    sizes = np.array([SIZE, (80, 120), (10, 200), SIZE, SIZE, (1, 1)])
    found = detect(answered, boxes, settings, sizes)
    assert found.shape == (6, settings.max_boxes, 6) and found.dtype == np.float32
    for row in range(6):
        known = slow_detect(answered[row], boxes, settings, tuple(sizes[row].tolist()))
        kept = found[row][found[row, :, 0] != NO_BOX]
        assert [int(box[0]) for box in kept] == [label for _, label, _, _ in known]
        np.testing.assert_allclose(kept[:, 1], [score for score, _, _, _ in known], rtol=1e-5)
        np.testing.assert_allclose(kept[:, 2:], np.reshape([box for *_, box in known], (-1, 4)), atol=1e-3)
        assert (found[row, len(kept) :, 1:] == 0).all()


def test_answers_that_are_no_boxes_are_told() -> None:
    boxes = BoxTarget("boxes", ["a"], SIZE, [{"stride": 16, "shapes": [[12, 12]]}])
    for answered in (np.zeros((1, 12, 7)), np.full((1, 12, 6), np.nan)):
        with pytest.raises(ValueError, match=r"expected finite numbers of shape \(12, 6\)"):
            detect(answered, boxes, Detection(), np.array([SIZE]))
