"""Scenes of several articles of Fashion-MNIST, each with a mask of what is where.

The way of M2NIST, which composes digits: articles, at half their size, are laid on a dark ground, later ones over
earlier ones. The pixels of an article are those that its photograph has brighter than its black ground; their class is
its published label.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.datasets.built_in import fashion_mnist

SIDE = 32  # pixels of a scene
SCENES = {"train": 2400, "test": 400}
MOST = 4  # articles in a scene
GROUND = 24  # brightness up to which a pixel of a photograph is its ground
Pixels = NDArray[np.uint8]


def fashion_scenes(files: list[Path]) -> tuple[Columns, int]:
    """`image`, uint8 `(2800, 32, 32)`, and `mask`, of the same shape, 0 for the ground, 1 to 10 for the label + 1.

    The last 400 are the test rows, of articles that are published as test rows.
    """
    columns, held = fashion_mnist(files)
    images, labels = _halved(np.asarray(columns["image"])), np.asarray(columns["label"])
    learned = len(images) - held
    random = np.random.RandomState(11)  # this stream is the same in every NumPy version
    scenes = [_scene(images, labels, random, 0, learned) for _ in range(SCENES["train"])]
    scenes += [_scene(images, labels, random, learned, len(images)) for _ in range(SCENES["test"])]
    pictures, masks = zip(*scenes, strict=True)
    return {"image": np.stack(pictures), "mask": np.stack(masks)}, SCENES["test"]


def _halved(images: Pixels) -> Pixels:
    """Images `(n, h, w)` of half the height and width: of each two by two pixels the mean, rounded down."""
    n, height, width = images.shape
    sums = images.reshape(n, height // 2, 2, width // 2, 2).sum(axis=(2, 4), dtype=np.uint16)
    return np.asarray(sums // 4, np.uint8)


def _scene(
    images: Pixels, labels: NDArray[np.int64], random: np.random.RandomState, first: int, end: int
) -> tuple[Pixels, Pixels]:
    """A scene of articles from `first` to `end`, and its mask."""
    image, mask = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    size = images.shape[1]
    for article in random.randint(first, end, random.randint(1, MOST + 1)):
        top, left = random.randint(0, SIDE - size + 1, 2)
        part = (slice(top, top + size), slice(left, left + size))
        there = images[article] > GROUND
        image[part][there] = images[article][there]
        mask[part][there] = labels[article] + 1
    return image, mask
