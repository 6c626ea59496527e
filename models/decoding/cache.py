"""What a model remembers of the tokens that it has read, so that each new token costs the same wherever it stands.

Of each layer the keys and values of all tokens are kept in slots. All rows share the number of slots; a slot that a row
does not use has a position that no token sees, so that rows of any lengths are read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.preprocessing.target.text_target import PREFIX

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]

UNSEEN_POSITION = 1 << 16  # after every token of a text
FIRST_SLOTS = 64  # they double when they are used up
READ_TOGETHER = 256  # tokens of each row, at most, that are read at once
MOST_NUMBERS = 1 << 24  # in each of: probabilities and attention weights of what is read at once
MOST_BYTES = 256 << 20  # of all keys and values of one request


class CachedModel(Protocol):
    """A model that reads new tokens after those of a cache.

    Attributes:
        parts: of each array that is kept, the number of heads and the numbers of each, (heads, dim).
        vocabulary: the number of tokens.
    """

    parts: tuple[tuple[int, int], ...]
    vocabulary: int

    def read(
        self, tokens: Ids, positions: Ids, past_positions: Ids, past: Sequence[Floats]
    ) -> tuple[Floats, list[Floats]]:
        """Probabilities `(rows, new, vocabulary)`, and what is to be kept, each `(rows, heads, new, dim)`.

        Args:
            tokens, positions: `(rows, new)`.
            past_positions: `(rows, slots)`.
            past: what was kept, each `(rows, heads, slots, dim)`.
        """


class Cache:
    """The keys and values of some rows' tokens so far.

    Args:
        model: it.
        rows: how many.
        slots: for so many tokens at first.
    """

    def __init__(self, model: CachedModel, rows: int, slots: int = FIRST_SLOTS) -> None:
        self._model, self._used = model, 0
        self._lengths = np.zeros(rows, np.int32)
        self._positions = np.full((rows, slots), UNSEEN_POSITION, np.int32)
        self._kept = [np.zeros((rows, heads, slots, dim), np.float32) for heads, dim in model.parts]

    def read(self, tokens: Ids, counts: NDArray[np.integer] | None = None) -> Floats:
        """Read new tokens, and keep them.

        Args:
            tokens: `(rows, new)`.
            counts: how many of them each row has, the others stand behind them; None: all.

        Returns:
            Probabilities of the next token after each, float32 `(rows, new, vocabulary)`.
        """
        rows, new = tokens.shape
        places = np.arange(new, dtype=np.int32)
        many = np.full(rows, new, np.int32) if counts is None else counts.astype(np.int32)
        positions = np.where(places < many[:, None], self._lengths[:, None] + places, UNSEEN_POSITION)
        positions = positions.astype(np.int32)
        probabilities, found = self._model.read(tokens, positions, self._positions, self._kept)
        self._grow(self._used + new)
        part = slice(self._used, self._used + new)
        for kept, one in zip(self._kept, found, strict=True):
            kept[:, :, part] = one
        self._positions[:, part] = positions
        self._used, self._lengths = self._used + new, self._lengths + many
        return probabilities

    def choose(self, rows: NDArray[np.integer]) -> None:
        """Go on with these rows, each of which may be there several times."""
        self._lengths, self._positions = self._lengths[rows], self._positions[rows]
        self._kept = [kept[rows] for kept in self._kept]

    def _grow(self, slots: int) -> None:
        more, had = self._positions.shape[1], self._positions.shape[1]
        while more < slots:
            more *= 2
        if more == had:
            return
        unused = ((0, 0), (0, more - had))
        self._positions = np.pad(self._positions, unused, constant_values=UNSEEN_POSITION)
        self._kept = [np.pad(kept, ((0, 0), *unused, (0, 0))) for kept in self._kept]


def together(model: CachedModel, slots: int) -> int:
    """How many rows of `slots` tokens may be in memory at once."""
    row = 4 * sum(heads * dim for heads, dim in model.parts) * max(slots, FIRST_SLOTS)
    return max(1, MOST_BYTES // (2 * row))  # slots double


def read_width(model: CachedModel, rows: int, slots: int) -> int:
    """How many tokens of each row may be read at once."""
    heads = max(heads for heads, _ in model.parts)
    most = MOST_NUMBERS // max(1, rows * max(model.vocabulary, heads * (slots + READ_TOGETHER)))
    return max(1, min(READ_TOGETHER, most))


class PrefixReader:
    """Whole texts by the same model, as a `Run`: tokens so far `prefix` `(n, steps)` to `(n, steps, vocabulary)`.

    Args:
        model: it.
        pieces: how many tokens are read at once, again and again; None: as many as fit into memory.
    """

    def __init__(self, model: CachedModel, pieces: Sequence[int] | None = None) -> None:
        self.model, self._pieces = model, pieces

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> Floats:
        """Read them from the start."""
        tokens = inputs[PREFIX].astype(np.int32)
        rows, steps = tokens.shape
        cache = Cache(self.model, rows, FIRST_SLOTS if self._pieces else 1)
        found: list[Floats] = []
        start = 0
        pieces = self._pieces or (read_width(self.model, rows, steps),)
        while start < steps:
            size = pieces[len(found) % len(pieces)]
            found.append(cache.read(tokens[:, start : start + size]))
            start += size
        return np.concatenate(found, axis=1)
