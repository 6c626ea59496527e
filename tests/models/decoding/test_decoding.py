"""Decoding beside slow references: all texts there are, one box after the other, and counted draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tidegate.models.data.box_geometry import iou, non_max_suppression
from tidegate.models.decoding.beam import beam_search
from tidegate.models.decoding.sampling import draw, tempered

BEGIN, END, VOCABULARY, LONGEST = 0, 1, 4, 3


def network(seed: int):
    """Random but fixed probabilities for every prefix of every row; begin never follows."""
    table: dict[tuple[int, ...], np.ndarray] = {}

    def one(row: int, prefix: tuple[int, ...]) -> np.ndarray:
        key = (seed, row, *prefix)
        if key not in table:
            logs = np.random.default_rng(key).normal(size=VOCABULARY) * 2
            logs[BEGIN] = -np.inf
            table[key] = logs - np.log(np.exp(logs).sum())
        return table[key]

    def following(rows: np.ndarray, prefixes: np.ndarray) -> np.ndarray:
        return np.stack([one(int(row), tuple(p.tolist())) for row, p in zip(rows, prefixes, strict=True)])

    return one, following


def all_texts(one, row: int, alpha: float) -> list[tuple[float, tuple[int, ...]]]:
    """Every text of at most LONGEST tokens and its score, the best first."""
    found = []
    for length in range(LONGEST + 1):
        for tokens in product(range(2, VOCABULARY), repeat=length):
            whole = (*tokens, END)
            log = sum(one(row, (BEGIN, *whole[:at]))[token] for at, token in enumerate(whole))
            found.append((log / len(whole) ** alpha, tokens))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_best_of_all_texts(seed: int, alpha: float) -> None:
    one, following = network(seed)
    settings = {"begin": BEGIN, "end": END, "longest": LONGEST, "width": 8, "alpha": alpha}
    for row, found in enumerate(beam_search(following, 3, **settings)):
        score, tokens = all_texts(one, row, alpha)[0]
        assert found.tokens == tokens
        assert found.score == pytest.approx(score)


@pytest.mark.parametrize("seed", range(8))
def test_a_wider_beam_is_never_worse_where_all_is_kept_and_one_is_greedy(seed: int) -> None:
    one, following = network(seed)
    greedy = beam_search(following, 1, begin=BEGIN, end=END, longest=LONGEST)[0]
    wide = beam_search(following, 1, begin=BEGIN, end=END, longest=LONGEST, width=8)[0]
    assert wide.score >= greedy.score
    path, best = (BEGIN,), []
    log = 0.0
    for _ in range(LONGEST + 1):
        logs = one(0, path)
        best.append((log + logs[END], path[1:]))
        token = 2 + int(logs[2:].argmax())
        log, path = log + logs[token], (*path, token)
    assert (greedy.score, greedy.tokens) == max(best)


def test_boxes_are_kept_as_one_after_the_other_says() -> None:
    random = np.random.default_rng(3)
    corner = random.uniform(0, 10, (60, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.5, 5, (60, 2))], axis=1)
    scores = random.random(60).round(1)
    left, kept = sorted(range(60), key=lambda place: (-scores[place], place)), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [other for other in left if iou(boxes[[best]], boxes[[other]])[0, 0] <= 0.4]
    assert non_max_suppression(boxes, scores, 0.4).tolist() == kept
    assert non_max_suppression(np.zeros((0, 4)), np.zeros(0)).tolist() == []


def test_overlaps_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [1, 1, 1, 5]])
    np.testing.assert_allclose(iou(boxes[:1], boxes)[0], [1, 1 / 7, 0, 0])


def test_a_temperature_is_a_power() -> None:
    given = np.array([[0.5, 0.3, 0.2, 0.0]])
    np.testing.assert_allclose(tempered(given, 1.0), given)
    np.testing.assert_allclose(tempered(given, 0.5), given**2 / (given**2).sum())
    np.testing.assert_allclose(tempered(given, 1.0, top_k=2), [[0.625, 0.375, 0, 0]])
    assert tempered(np.array([[0.4, 0.4, 0.2]]), 0).tolist() == [[1, 0, 0]]
    with pytest.raises(ValueError, match=r"temperature is -1.* expected at least 0"):
        tempered(given, -1.0)


def test_draws_come_as_often_as_they_should() -> None:
    given = np.array([0.5, 0.0, 0.3, 0.2])
    drawn = draw(np.tile(given, (20_000, 1)), np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, given, atol=0.015)
