"""What a window that slides over images finds: histograms of gradients and colours, and logistic regression.

Dalal, Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005, with the mean colour of each cell
beside its gradients and logistic regression in place of their support vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tidegate.models.data.box_column import RowBoxes
from tidegate.models.data.box_geometry import iou, non_max_suppression
from tidegate.models.evaluation.box_metrics import LEAST_SCORE, MOST, evaluate_boxes

Floats = NDArray[np.float64]
CELL = 8  # pixels, once a window is as large as CELLS of them; a window slides by one cell
CELLS = 4
BINS = 9  # of a gradient's direction, up to 180 degrees
SCALES = 5
NEGATIVES = 60  # windows without a box that are learned from an image and scale, at most


def sliding_map50(
    train: NDArray[np.uint8],
    learned: list[RowBoxes],
    test: NDArray[np.uint8],
    truth: list[RowBoxes],
    overlap: float = 0.3,
) -> float:
    """`map50` on the test images of a window that was learned from the training images.

    Args:
        train, test: `(n, height, width, 3)`.
        learned, truth: their boxes, all of one label.
        overlap: of two windows that overlap by more the better one stays.
    """
    sides = np.concatenate(
        [np.sqrt((cell.boxes[:, 2:] - cell.boxes[:, :2]).prod(axis=1)) for cell in learned]
    )
    sizes = np.quantile(sides, (np.arange(SCALES) + 0.5) / SCALES)
    label = next(name for cell in learned for name in cell.labels)
    features, wanted = _examples(train, learned, sizes)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=0.1, max_iter=300).fit(scaler.transform(features), wanted)
    found = []
    for image in test:
        windows, described = zip(*(_windows(image, size) for size in sizes), strict=True)
        boxes = np.concatenate(windows)
        scores = model.predict_proba(scaler.transform(np.concatenate(described)))[:, 1]
        likely = np.flatnonzero(scores >= LEAST_SCORE)
        kept = likely[non_max_suppression(boxes[likely], scores[likely], overlap)][:MOST]
        found.append(np.column_stack([np.zeros(len(kept)), scores[kept], boxes[kept]]))
    return evaluate_boxes(found, truth, (label,))["map50"]


def _examples(
    images: NDArray[np.uint8], cells: list[RowBoxes], sizes: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Windows that overlap a box by half, and some that overlap none by more than 0.3."""
    random = np.random.default_rng(0)
    described, wanted = [], []
    for image, cell in zip(images, cells, strict=True):
        for size in sizes:
            boxes, features = _windows(image, size)
            shared = iou(boxes, cell.boxes).max(axis=1, initial=0)
            others = np.flatnonzero(shared < 0.3)
            chosen = random.permutation(others)[:NEGATIVES]
            taken = np.concatenate([np.flatnonzero(shared >= 0.5), chosen])
            described.append(features[taken])
            wanted.append(shared[taken] >= 0.5)
    return np.concatenate(described), np.concatenate(wanted)


def _windows(image: NDArray[np.uint8], size: float) -> tuple[Floats, Floats]:
    """Windows of this size over the whole image, `(n, 4)`, and what describes each, `(n, features)`."""
    factor = CELL * CELLS / size
    high, wide = (max(CELLS, int(side * factor) // CELL) for side in image.shape[:2])
    resized = Image.fromarray(image).resize((wide * CELL, high * CELL), Image.Resampling.BILINEAR)
    grid = _described(np.asarray(resized, np.float64) / 255)
    view = np.lib.stride_tricks.sliding_window_view(grid, (CELLS, CELLS), axis=(0, 1))
    down, across = view.shape[:2]
    features = view.reshape(down * across, -1)
    y, x = (place.ravel() for place in np.mgrid[:down, :across])
    corner = np.stack([x / wide * image.shape[1], y / high * image.shape[0]], axis=1)
    reach = np.array([CELLS / wide * image.shape[1], CELLS / high * image.shape[0]])
    return np.concatenate([corner, corner + reach], axis=1), features


def _described(pixels: Floats) -> Floats:
    """Each cell's gradients by direction, over their length in the cells around it, and its mean colour."""
    down, across = np.gradient(pixels.mean(axis=2))
    length = np.hypot(down, across)
    place = np.minimum((np.arctan2(down, across) % np.pi / np.pi * BINS).astype(int), BINS - 1)
    high, wide = (side // CELL for side in length.shape)
    parts = (length[:, :, None] * np.eye(BINS)[place]).reshape(high, CELL, wide, CELL, BINS).sum(axis=(1, 3))
    around = np.pad((parts**2).sum(axis=2), 1, mode="edge")
    sums = np.lib.stride_tricks.sliding_window_view(around, (3, 3)).sum(axis=(2, 3))
    colour = pixels.reshape(high, CELL, wide, CELL, 3).mean(axis=(1, 3))
    return np.concatenate([parts / np.sqrt(sums + 1e-3)[:, :, None], colour], axis=2)
