"""Boxes as a target: default boxes, the encoding of true boxes against them, and its inverse. Stored as JSON.

Source: Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg, "SSD: Single Shot MultiBox Detector", ECCV 2016. For each of many
default boxes a model predicts the class probabilities, and how the default box is moved and scaled. The shapes of the
default boxes come from the training boxes, by k-means as in Redmon, Farhadi, "YOLO9000: Better, Faster, Stronger",
CVPR 2017, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_column import RowBoxes, parse_boxes
from tidegate.models.data.box_geometry import iou
from tidegate.models.data.columns import Columns
from tidegate.models.data.default_boxes import OFFSETS, Grid
from tidegate.models.preprocessing.schema import Field, Target

Floats = NDArray[np.float64]
SHAPES = 6  # the largest number of shapes of default boxes
STRIDES = (4, 8, 16, 32, 64)
# Size of a default box in strides, at least: then each true box is overlapped by half by some default box.
BOX_OVER_STRIDE = 2.5
MATCH = 0.5  # the overlap from which a default box is matched to a true box
VARIANCES = (0.1, 0.1, 0.2, 0.2)  # scale of the offsets, as in the paper's own code
ROUNDS = 50


class BoxTarget:
    """Encodes the boxes of an image as a target.

    Args:
        name: the target column.
        labels: the classes, in the order of the model's outputs.
        size: height and width of the model's image in pixels.
        grids: the default boxes, each `{"stride", "shapes"}`, see `data.default_boxes.Grid`.
    """

    def __init__(
        self, name: str, labels: Sequence[str], size: Sequence[int], grids: Sequence[dict[str, Any]]
    ) -> None:
        self.content = {"name": name, "labels": list(labels), "size": list(size), "grids": list(grids)}
        self.name, self.labels = name, tuple(labels)
        self.size = (int(size[0]), int(size[1]))
        self.grids = tuple(
            Grid(grid["stride"], tuple((float(w), float(h)) for w, h in grid["shapes"])) for grid in grids
        )
        self._defaults = default_boxes(self.grids, self.size)

    @classmethod
    def fit(cls, target: Target, image: Field, columns: Columns) -> BoxTarget:
        """Choose the default boxes by the training rows."""
        name, size = target.names[0], image.shape[:2]
        corners = np.concatenate([cell.boxes for cell in parse_boxes(name, columns[name], size)])
        labels = [str(label) for label in target.classes]
        return cls(name, labels, size, _grids(corners[:, 2:] - corners[:, :2], size))

    @property
    def defaults(self) -> Floats:
        """The default boxes `(d, 4)`, each left, top, right, bottom, in the order of the model's outputs."""
        return self._defaults

    def ground_truth(self, columns: Columns) -> list[RowBoxes]:
        """The true boxes of each row, in pixels of the model's image."""
        return parse_boxes(self.name, columns[self.name], self.size)

    def encode(self, columns: Columns) -> NDArray[np.float32]:
        """The target, `(n, d, 5)`: 0 for no box, else the class counted from 1; then four offsets."""
        places = {label: place for place, label in enumerate(self.labels, 1)}
        cells = self.ground_truth(columns)
        encoded = np.zeros((len(cells), len(self._defaults), 1 + OFFSETS), np.float32)
        for row, cell in enumerate(cells):
            matched = match_default_boxes(cell.boxes, self._defaults)
            taken = np.flatnonzero(matched >= 0)
            chosen = matched[taken]
            encoded[row, taken, 0] = np.array([places[label] for label in cell.labels], np.float32)[chosen]
            encoded[row, taken, 1:] = offsets_of(cell.boxes[chosen], self._defaults[taken])
        return encoded


def default_boxes(grids: Sequence[Grid], size: tuple[int, int]) -> Floats:
    """All default boxes `(d, 4)`; their centres are evenly spaced, so that they are their own mirror image."""
    found = []
    for grid in grids:
        down, across = grid.places(*size)
        x = (np.arange(across) + 0.5) * size[1] / across
        y = (np.arange(down) + 0.5) * size[0] / down
        centres = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), axis=-1)
        half = np.array(grid.shapes) / 2
        found.append(np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4))
    return np.concatenate(found) if found else np.zeros((0, 4))


def match_default_boxes(boxes: Floats, defaults: Floats) -> NDArray[np.int64]:
    """The true box that each default box is matched to, `(d,)`; -1 for none.

    A default box is matched to the true box that it overlaps most, if by at least MATCH. In addition each true box gets
    the default box that overlaps it most; the pair with the largest overlap is matched first.
    """
    if not len(boxes):
        return np.full(len(defaults), -1, np.int64)
    shared = iou(boxes, defaults)
    matched = np.where(shared.max(axis=0) >= MATCH, shared.argmax(axis=0), -1)
    for _ in range(len(boxes)):
        box, place = np.unravel_index(shared.argmax(), shared.shape)
        matched[place] = box
        shared[box], shared[:, place] = -1, -1
    return np.asarray(matched, np.int64)


def offsets_of(boxes: Floats, defaults: Floats) -> Floats:
    """The offsets from default boxes to boxes `(k, 4)`: the shift of the centre, and the logarithm of the scaling."""
    (centre, size), (base, scale) = _centres(boxes), _centres(defaults)
    moved = np.concatenate([(centre - base) / scale, np.log(size / scale)], axis=-1)
    return np.asarray(moved / np.array(VARIANCES))


def apply_offsets(offsets: NDArray[np.floating], defaults: Floats) -> Floats:
    """Default boxes `(..., d, 4)` moved and scaled; the inverse of `offsets_of`."""
    base, scale = _centres(defaults)
    steps = offsets.astype(np.float64) * np.array(VARIANCES)
    centre = base + steps[..., :2] * scale
    half = scale * np.exp(np.minimum(steps[..., 2:], 10.0)) / 2  # limited, so that no prediction overflows
    return np.concatenate([centre - half, centre + half], axis=-1)


def _centres(boxes: Floats) -> tuple[Floats, Floats]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _grids(sizes: Floats, image: Sequence[int]) -> list[dict[str, Any]]:
    """Default boxes by stride, from the widths and heights `(k, 2)` of training boxes."""
    shapes = _clusters(sizes) if len(sizes) else np.array([image[::-1]], np.float64) / 2
    found: dict[int, list[list[float]]] = {}
    for shape in shapes[np.argsort(shapes.prod(axis=1), kind="stable")]:
        wide = float(np.sqrt(shape.prod())) / BOX_OVER_STRIDE
        stride = max((one for one in STRIDES if one <= wide), default=STRIDES[0])
        found.setdefault(stride, []).append([round(float(side), 2) for side in shape])
    return [{"stride": stride, "shapes": found[stride]} for stride in sorted(found)]


def _clusters(sizes: Floats) -> Floats:
    """At most SHAPES typical sizes: k-means with the distance 1 - overlap, starting from evenly spaced areas."""
    distinct = np.unique(sizes, axis=0)
    order = distinct[np.argsort(distinct.prod(axis=1), kind="stable")]
    spread = np.linspace(0, len(order) - 1, 2 * min(SHAPES, len(order)) + 1)[1::2]
    centres = order[np.unique(np.round(spread).astype(int))]
    for _ in range(ROUNDS):
        nearest = _shared(sizes, centres).argmax(axis=1)
        moved = np.stack([sizes[nearest == place].mean(axis=0) for place in np.unique(nearest)])
        if moved.shape == centres.shape and np.allclose(moved, centres):
            break
        centres = moved
    return np.asarray(centres, np.float64)


def _shared(first: Floats, second: Floats) -> Floats:
    """Overlap `(n, m)` of boxes of these sizes with the same centre."""
    corner = [np.concatenate([-sizes / 2, sizes / 2], axis=1) for sizes in (first, second)]
    return iou(*corner)
