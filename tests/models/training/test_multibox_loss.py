"""The loss of boxes beside a slow one, and images that are flipped while boxes stay where they are."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from tidegate.models.config.losses import loss_named
from tidegate.models.config.training_parts import Augmentation
from tidegate.models.data.default_boxes import Grid
from tidegate.models.errors import OptionsError
from tidegate.models.networks.outputs import Outputs
from tidegate.models.preprocessing.target.box_target import apply_offsets, default_boxes
from tidegate.models.training.augmentation import augmented
from tidegate.models.training.measures.loss_functions import loss_function
from tidegate.models.training.measures.multibox_loss import LEAST, multibox

SIZE = (12, 20)
GRIDS = (Grid(4, ((5.0, 3.0), (4.0, 4.0))), Grid(8, ((9.0, 7.0),)))  # 20 is no multiple of 8
OUTPUTS = Outputs(1 + 2 + 4, "linear", GRIDS)


def slow_loss(wanted: np.ndarray, answered: np.ndarray, negatives: float, alpha: float) -> float:
    """One default box after the other; the mean over images."""
    losses = []
    for image in range(len(wanted)):
        total, others = 0.0, []
        count = int((wanted[image, :, 0] > 0).sum())
        for place in range(wanted.shape[1]):
            label, logits = int(wanted[image, place, 0]), answered[image, place, :-4].tolist()
            wrong = math.log(sum(math.exp(value) for value in logits)) - logits[label]
            if not label:
                others.append(wrong)
                continue
            total += wrong
            for one, other in zip(
                answered[image, place, -4:].tolist(), wanted[image, place, 1:], strict=True
            ):
                off = abs(one - float(other))
                total += alpha * (0.5 * off * off if off < 1 else off - 0.5)
        total += sum(sorted(others, reverse=True)[: max(LEAST, int(negatives * count))])
        losses.append(total / max(count, 1))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("negatives", "alpha"), [(3.0, 1.0), (1.0, 2.5)])
@pytest.mark.parametrize("most", [0, 1, 6])
def test_it_is_the_definition_s(most: int, negatives: float, alpha: float) -> None:
    random = np.random.default_rng(most)
    wanted = np.zeros((5, 40, 5), np.float32)
    for image in range(5):
        taken = random.permutation(40)[: random.integers(0, most + 1)]
        wanted[image, taken, 0] = random.integers(1, 3, len(taken))
        wanted[image, taken, 1:] = random.normal(size=(len(taken), 4))
    answered = (random.normal(size=(5, 40, 7)) * 2).astype(np.float32)
    value = float(np.mean(keras.ops.convert_to_numpy(multibox(negatives, alpha)(wanted, answered))))
    assert value == pytest.approx(slow_loss(wanted, answered, negatives, alpha), rel=1e-5)


def test_it_is_a_loss_by_name() -> None:
    assert loss_named(None, "detection", 2).target == "boxes"
    assert callable(loss_function(loss_named({"name": "multibox", "negatives": 2}, "detection", 2)))
    with pytest.raises(OptionsError, match=r"negatives is 0 and alpha is 1\.0; expected both"):
        loss_function(loss_named({"name": "multibox", "negatives": 0}, "detection", 2))
    with pytest.raises(OptionsError, match="'multibox' does not fit a classification"):
        loss_named("multibox", "classification", 2)
    with pytest.raises(OptionsError, match="'huber' does not fit a detection"):
        loss_named("huber", "detection", 2)


def network() -> Any:
    """Answers that depend on what is seen where, without statistics of batches."""
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(OUTPUTS.boxes(*SIZE) * 6, activation="tanh")(x)
    x = keras.layers.Reshape((-1, 6))(x)
    return keras.Model({"image": image}, OUTPUTS.layer(x))


def corners(answers: np.ndarray) -> np.ndarray:
    return apply_offsets(answers[..., -4:], default_boxes(GRIDS, SIZE))


def mirrored(boxes: np.ndarray, axis: int) -> np.ndarray:
    """Boxes in the flipped image; `axis` 1 is vertical, 2 horizontal."""
    first, last, side = (0, 2, SIZE[1]) if axis == 2 else (1, 3, SIZE[0])
    turned = boxes.copy()
    turned[..., first], turned[..., last] = side - boxes[..., last], side - boxes[..., first]
    return turned


def in_order(answers: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Logits and boxes of one image, sorted: which default box said it is no matter."""
    rows = np.concatenate([answers[:, :-4], boxes], axis=1).round(3)
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("flip", ["horizontal", "vertical", "both"])
def test_what_is_found_in_a_flipped_image_is_where_it_was(flip: str) -> None:
    model = network()
    options = Augmentation.model_validate({"flip": flip})
    changed = augmented(model, ["image"], options, 3, GRIDS)
    images = np.random.default_rng(0).normal(size=(24, *SIZE, 3)).astype(np.float32)
    plain = np.asarray(model({"image": images}))
    np.testing.assert_array_equal(np.asarray(changed({"image": images}, training=False)), plain)
    answers = np.asarray(changed({"image": images}, training=True))
    ways = {"horizontal": [(), (2,)], "vertical": [(), (1,)], "both": [(), (1,), (2,), (1, 2)]}[flip]
    seen = set()
    for row in range(len(images)):
        for axes in ways:
            turned = np.asarray(model({"image": np.flip(images[row : row + 1], axes)}))
            boxes = corners(turned)
            for axis in axes:
                boxes = mirrored(boxes, axis)
            known = in_order(turned[0], boxes[0])
            if np.allclose(in_order(answers[row], corners(answers)[row]), known, atol=2e-3):
                seen.add(axes)
                break
        else:
            raise AssertionError(f"row {row} is none of the flipped ones")
    assert seen == set(ways)


def test_what_would_move_boxes_is_refused() -> None:
    options = Augmentation.model_validate({"flip": "both", "shift": 0.1})
    with pytest.raises(OptionsError, match=r"boxes would not move along; expected flip and noise alone"):
        augmented(network(), ["image"], options, 3, GRIDS)
