"""Boxes as a target: the default boxes, what a model has to answer for them, and boxes from what it answers. Data.

Source: Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg, "SSD: Single Shot MultiBox Detector", ECCV 2016. A model answers
for each of many default boxes how probable each class is, and how the default box is to be moved and stretched. The
shapes of the default boxes are those of the training boxes, by k-means as in Redmon, Farhadi, "YOLO9000: Better,
Faster, Stronger", CVPR 2017, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_column import Cell, read_cells
from tidegate.models.data.box_geometry import overlaps
from tidegate.models.data.columns import Columns
from tidegate.models.data.default_boxes import OFFSETS, Grid
from tidegate.models.preprocessing.schema import Field, Target

Floats = NDArray[np.float64]
SHAPES = 6  # of default boxes
STRIDES = (4, 8, 16, 32, 64)
BOX_OVER_STRIDE = (
    2.5  # a default box is at least so many strides large, so that some overlaps each box by half
)
MATCH = 0.5  # overlap from which a default box is to answer a box
VARIANCES = (0.1, 0.1, 0.2, 0.2)  # the offsets' scale, as in the paper's own code
ROUNDS = 50


class Boxes:
    """The target boxes of an image.

    Args:
        name: the target's column.
        labels: the classes, in the order of the model's outputs.
        size: height and width of the model's image.
        grids: the default boxes, `{"stride", "shapes"}` each, see `networks.outputs.Grid`.
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
    def fit(cls, target: Target, image: Field, columns: Columns) -> Boxes:
        """Learn the default boxes from the training rows."""
        name, size = target.names[0], image.shape[:2]
        corners = np.concatenate([cell.boxes for cell in read_cells(name, columns[name], size)])
        labels = [str(label) for label in target.classes]
        return cls(name, labels, size, _grids(corners[:, 2:] - corners[:, :2], size))

    @property
    def defaults(self) -> Floats:
        """The default boxes `(d, 4)`, each left, top, right, bottom, in the order of the model's outputs."""
        return self._defaults

    def truth(self, columns: Columns) -> list[Cell]:
        """The boxes of rows, in pixels of the model's image."""
        return read_cells(self.name, columns[self.name], self.size)

    def wanted(self, columns: Columns) -> NDArray[np.float32]:
        """What the model has to answer, `(n, d, 5)`: 0 for no box or the class from 1, and four offsets."""
        places = {label: place for place, label in enumerate(self.labels, 1)}
        cells = self.truth(columns)
        encoded = np.zeros((len(cells), len(self._defaults), 1 + OFFSETS), np.float32)
        for row, cell in enumerate(cells):
            matched = match(cell.boxes, self._defaults)
            taken = np.flatnonzero(matched >= 0)
            chosen = matched[taken]
            encoded[row, taken, 0] = np.array([places[label] for label in cell.labels], np.float32)[chosen]
            encoded[row, taken, 1:] = offsets_of(cell.boxes[chosen], self._defaults[taken])
        return encoded


def default_boxes(grids: Sequence[Grid], size: tuple[int, int]) -> Floats:
    """All default boxes `(d, 4)`; their middles lie evenly, so that they are their own mirror image."""
    found = []
    for grid in grids:
        down, across = grid.places(*size)
        x = (np.arange(across) + 0.5) * size[1] / across
        y = (np.arange(down) + 0.5) * size[0] / down
        middles = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), axis=-1)
        half = np.array(grid.shapes) / 2
        found.append(np.concatenate([middles - half, middles + half], axis=-1).reshape(-1, 4))
    return np.concatenate(found) if found else np.zeros((0, 4))


def match(boxes: Floats, defaults: Floats) -> NDArray[np.int64]:
    """Which box each default box is to answer `(d,)`, -1 for none.

    It is the one that it overlaps most, where that is at least by half; and each box has the default box that overlaps
    it most, whatever it is, the largest overlaps being given away first.
    """
    if not len(boxes):
        return np.full(len(defaults), -1, np.int64)
    shared = overlaps(boxes, defaults)
    matched = np.where(shared.max(axis=0) >= MATCH, shared.argmax(axis=0), -1)
    for _ in range(len(boxes)):
        box, place = np.unravel_index(shared.argmax(), shared.shape)
        matched[place] = box
        shared[box], shared[:, place] = -1, -1
    return np.asarray(matched, np.int64)


def offsets_of(boxes: Floats, defaults: Floats) -> Floats:
    """From default boxes to boxes `(k, 4)`: how far the middle moves, and the logarithm of how much it is stretched."""
    (middle, size), (base, scale) = _middles(boxes), _middles(defaults)
    moved = np.concatenate([(middle - base) / scale, np.log(size / scale)], axis=-1)
    return np.asarray(moved / np.array(VARIANCES))


def moved_by(offsets: NDArray[np.floating], defaults: Floats) -> Floats:
    """Default boxes `(..., d, 4)` moved and stretched; the inverse of `offsets_of`."""
    base, scale = _middles(defaults)
    steps = offsets.astype(np.float64) * np.array(VARIANCES)
    middle = base + steps[..., :2] * scale
    half = scale * np.exp(np.minimum(steps[..., 2:], 10.0)) / 2  # whatever a model answers, no infinity
    return np.concatenate([middle - half, middle + half], axis=-1)


def _middles(boxes: Floats) -> tuple[Floats, Floats]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _grids(sizes: Floats, image: Sequence[int]) -> list[dict[str, Any]]:
    """Default boxes by their stride, from widths and heights `(k, 2)` of training boxes."""
    shapes = _clusters(sizes) if len(sizes) else np.array([image[::-1]], np.float64) / 2
    found: dict[int, list[list[float]]] = {}
    for shape in shapes[np.argsort(shapes.prod(axis=1), kind="stable")]:
        wide = float(np.sqrt(shape.prod())) / BOX_OVER_STRIDE
        stride = max((one for one in STRIDES if one <= wide), default=STRIDES[0])
        found.setdefault(stride, []).append([round(float(side), 2) for side in shape])
    return [{"stride": stride, "shapes": found[stride]} for stride in sorted(found)]


def _clusters(sizes: Floats) -> Floats:
    """At most SHAPES typical sizes: k-means whose distance is 1 - overlap, from evenly spread areas on."""
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
    """Overlap `(n, m)` of boxes of these sizes with one middle."""
    corner = [np.concatenate([-sizes / 2, sizes / 2], axis=1) for sizes in (first, second)]
    return overlaps(*corner)
