"""Discs and squares on a noisy ground; the mask says what each pixel belongs to."""

import numpy as np

SIZE = 24


def load(source=None, images=100):
    del source
    random = np.random.default_rng(3)
    down, across = np.mgrid[:SIZE, :SIZE]
    masks = np.zeros((images, SIZE, SIZE), np.uint8)
    for mask in masks:
        y, x = random.integers(5, SIZE - 5, 2)
        mask[(down - y) ** 2 + (across - x) ** 2 <= random.integers(9, 25)] = 1
        (y, x), side = random.integers(2, SIZE - 8, 2), random.integers(4, 7)
        mask[y : y + side, x : x + side] = 2
    colours = np.array([[70, 70, 70], [200, 90, 60], [60, 120, 210]])
    noise = random.normal(0, 25, (images, SIZE, SIZE, 3))
    return {"image": np.clip(colours[masks] + noise, 0, 255).astype(np.uint8), "mask": masks}
