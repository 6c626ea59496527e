"""A cache keeps what was read: any pieces, rows and orders give what reading the whole text gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.models.preprocessing.test_texts import answers_of
from tidegate.models.decoding import cache as caches
from tidegate.models.decoding.cache import Cache, PrefixReader
from tidegate.models.decoding.settings import Decoding
from tidegate.models.decoding.texts import decode

VOCABULARY, HEADS, DIM = 5, 2, 3
ANSWERS = answers_of("abc", length=300)


class Attention:
    """Attention with drawn weights; how many tokens it was given is counted."""

    parts = ((HEADS, DIM), (HEADS, DIM))
    vocabulary = VOCABULARY

    def __init__(self) -> None:
        random = np.random.default_rng(3)
        self.table = random.normal(size=(VOCABULARY, HEADS, 3, DIM)).astype(np.float32)
        self.last = random.normal(size=(HEADS * DIM, VOCABULARY)).astype(np.float32) * 2
        self.given = 0

    def read(
        self, tokens: np.ndarray, positions: np.ndarray, past_positions: np.ndarray, past: Sequence[Any]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        self.given += tokens.size
        turned = self.table[tokens] * np.cos(0.3 * positions)[:, :, None, None, None]
        queries, keys, values = np.moveaxis(turned, (3, 2), (0, 2)).astype(np.float32)
        keys, values = (np.concatenate(pair, axis=2) for pair in ((past[0], keys), (past[1], values)))
        known = np.concatenate([past_positions, positions], axis=1)
        scores = queries @ keys.transpose(0, 1, 3, 2)
        scores = np.where(known[:, None, None, :] <= positions[:, None, :, None], scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        found = (shares / shares.sum(axis=-1, keepdims=True)) @ values
        logits = np.moveaxis(found, 1, 2).reshape(*tokens.shape, -1) @ self.last
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        new = tokens.shape[1]
        answered = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
        return answered, [keys[:, :, -new:], values[:, :, -new:]]


def whole(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The same model as one that reads everything again each time."""
    return PrefixReader(Attention())(inputs)


def drawn(rows: int, steps: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, VOCABULARY, (rows, steps)).astype(np.int32)


@pytest.mark.parametrize("pieces", [(1,), (1, 1, 7, 1, 2), (63, 1), (64,), (200,)])
def test_any_pieces_give_what_the_whole_gives(pieces: tuple[int, ...]) -> None:
    inputs = {"prefix": drawn(3, 150)}
    np.testing.assert_allclose(PrefixReader(Attention(), pieces)(inputs), whole(inputs), atol=1e-6)


def test_rows_of_other_lengths_and_in_another_order_are_kept_apart() -> None:
    tokens, counts = drawn(4, 9), np.array([9, 1, 0, 5])
    cache = Cache(Attention(), 4)
    cache.read(tokens, counts)
    order = np.array([3, 0, 0, 2, 1])
    cache.choose(order)
    more = drawn(5, 3)
    found = cache.read(more)
    for place, row in enumerate(order.tolist()):
        alone = np.concatenate([tokens[row, : counts[row]], more[place]])[None]
        np.testing.assert_allclose(found[place], whole({"prefix": alone})[0, -3:], atol=1e-6)


LEADS: list[list[int]] = [[], [2], [2, 3] * 40, [], [4] * 150, [1, 2, 3]]
METHODS = {
    "greedy": Decoding(method="greedy", max_length=120),
    "sample": Decoding(method="sample", temperature=0.9, top_k=4, seed=7, max_length=120),
    "beam": Decoding(method="beam", width=3, length_penalty=0.7, max_length=40),
}


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_texts_are_those_of_reading_everything_again(
    monkeypatch: pytest.MonkeyPatch, method: str, few: bool
) -> None:
    if few:  # memory for one or two rows, and for a few tokens at once
        monkeypatch.setattr(caches, "MOST_BYTES", 2 * 4 * 12 * 400)
        monkeypatch.setattr(caches, "MOST_NUMBERS", 2000)
    reader = PrefixReader(Attention())
    kept = decode(reader, ANSWERS, {}, LEADS, METHODS[method])
    again = decode(whole, ANSWERS, {"row": np.arange(len(LEADS))}, LEADS, METHODS[method])
    assert [text.tokens for text in kept] == [text.tokens for text in again]
    assert [text.log_probability for text in kept] == pytest.approx(
        [text.log_probability for text in again], abs=1e-4
    )
    assert len({text.tokens for text in kept}) > 2


def test_each_token_is_read_once() -> None:
    model = Attention()
    (text,) = decode(PrefixReader(model), ANSWERS, {}, [[2] * 20], METHODS["sample"])
    assert model.given == 21 + min(len(text.tokens), 119)


def test_the_time_may_be_over_at_each_token() -> None:
    with pytest.raises(TimeoutError):
        decode(PrefixReader(Attention()), ANSWERS, {}, [[]], METHODS["greedy"], until=0.0)
