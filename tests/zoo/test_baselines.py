"""The counted models: their chances sum to one, and they are those of the papers. The window finds squares."""

import math
from itertools import product

import numpy as np
import pytest

from tests.zoo.baselines import kneser_ney, markov_loss
from tests.zoo.windows import sliding_map50
from tidegate.models.data.box_column import RowBoxes


def test_kneser_ney_is_a_distribution_over_what_follows() -> None:
    random = np.random.default_rng(2)
    train = [[*random.integers(1, 4, 12).tolist(), 0] for _ in range(5)]
    for past in product(range(1, 4), repeat=3):
        # exp(-mean of the logs) over the past and one more token; the past alone is common to all of them.
        alone = 3 * math.log(kneser_ney(train, [list(past)], 4))
        whole = [4 * math.log(kneser_ney(train, [[*past, token]], 4)) for token in range(4)]
        assert sum(math.exp(alone - one) for one in whole) == pytest.approx(1)


def test_kneser_ney_by_hand() -> None:
    # "ab" twice, end each: pieces of two (-1 a) 2, (a b) 2, (b 0) 2, none of them once: the discount is 0.
    assert kneser_ney([[1, 2, 0]] * 2, [[1, 2, 0]], 3, order=2) == pytest.approx(1)
    # With (a c) once: n1 = 2 (a c), (c 0); n2 = 2 (a b), (b 0); discount 1 / 3; of (-1 a) there are 3.
    # Single tokens by how many stand before them: a 1, b 1, c 1, 0 2, of 5; n1 = 3, n2 = 1, discount 3 / 5.
    given = kneser_ney([[1, 2, 0], [1, 2, 0], [1, 3, 0]], [[3]], 4, order=2)
    single = (1 - 3 / 5 + 3 / 5 * 4 / 4) / 5
    assert 1 / given == pytest.approx((0 + 1 / 3 * 1 * single) / 3)


def test_a_markov_model_is_a_distribution_over_what_follows() -> None:
    random = np.random.default_rng(3)
    train = [random.integers(0, 4, 30).tolist() for _ in range(3)]
    for past in product(range(4), repeat=3):
        alone = 3 * markov_loss(train, [list(past)], 4)
        whole = [4 * markov_loss(train, [[*past, token]], 4) for token in range(4)]
        assert sum(math.exp(alone - one) for one in whole) == pytest.approx(1)


def test_a_markov_model_by_hand() -> None:
    # 0 1 0 1: without context 0 and 1 twice each, 2 kinds: (2 + 2 / 3) / (4 + 2). After 0 always 1: (2 + 4 / 9) / 3.
    given = markov_loss([[0, 1, 0, 1]], [[0, 1]], 3, order=1)
    assert given == pytest.approx(-(math.log(4 / 9) + math.log((2 + 4 / 9) / (2 + 1))) / 2)


def test_a_sliding_window_finds_bright_squares_and_nothing_where_boxes_are_anywhere() -> None:
    random = np.random.default_rng(3)
    images = random.integers(60, 100, (40, 64, 64, 3)).astype(np.uint8)
    cells, elsewhere = [], []
    for image in images:
        boxes = []
        for _ in range(2):
            left, top = random.integers(0, 44, 2)
            image[top : top + 20, left : left + 20] = random.integers(150, 250, 3)
            boxes.append([left, top, left + 20, top + 20])
        cells.append(RowBoxes(("square",) * 2, np.array(boxes, np.float64)))
        corner = random.integers(0, 44, (2, 2))
        elsewhere.append(
            RowBoxes(("square",) * 2, np.concatenate([corner, corner + 20], axis=1).astype(np.float64))
        )
    there = sliding_map50(images[:30], cells[:30], images[30:], cells[30:])
    assert there > 0.5 > 0.3 > sliding_map50(images[:30], elsewhere[:30], images[30:], elsewhere[30:])
