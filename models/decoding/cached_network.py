"""A model with a cache as the decoders call it: only the last token of each prefix is read."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.models.decoding.cache import Cache, CachedModel, Ids, read_width
from tidegate.models.decoding.probabilities import log_probabilities


class CachedNetwork:
    """Rows and their tokens so far, to log-probabilities of the next token.

    Each call's prefixes must be some of the last call's, each with one token more; so are those of the decoders.

    Args:
        model: it.
        starts: the tokens that come first, of each row.
        until: the `time.monotonic()` after which to give up; None: never.
    """

    def __init__(self, model: CachedModel, starts: Sequence[Ids], until: float | None) -> None:
        self._model, self._starts, self._until = model, starts, until
        self._cache: Cache | None = None
        self._rows, self._prefixes = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)

    def __call__(self, rows: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Float64 `(n, vocabulary)` for rows `(n,)` and prefixes `(n, steps)`, whose first token is BOUNDARY."""
        if self._cache is None:
            found = self._begun(rows)
        else:
            self._choose(self._cache, rows, prefixes)
            found = self._read(self._cache, prefixes[:, -1:].astype(np.int32), None)[:, 0]
        self._rows, self._prefixes = rows, prefixes
        return log_probabilities(found)

    def _begun(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read what comes first, of all rows together."""
        starts = [self._starts[row] for row in rows.tolist()]
        lengths = np.array([len(start) for start in starts])
        tokens = np.zeros((len(starts), int(lengths.max())), np.int32)
        for place, start in enumerate(starts):
            tokens[place, : len(start)] = start
        self._cache = Cache(self._model, len(starts))
        width = read_width(self._model, *tokens.shape)
        last = np.zeros((len(starts), self._model.vocabulary), np.float32)
        for begin in range(0, tokens.shape[1], width):
            part = tokens[:, begin : begin + width]
            counts = np.clip(lengths - begin, 0, part.shape[1])
            answered = self._read(self._cache, part, counts)
            ends = (lengths > begin) & (lengths <= begin + width)
            last[ends] = answered[ends, counts[ends] - 1]
        return last

    def _read(self, cache: Cache, tokens: Ids, counts: NDArray[np.int64] | None) -> NDArray[np.float32]:
        if self._until is not None and time.monotonic() > self._until:
            raise TimeoutError("the time for a text is over")
        return cache.read(tokens, counts)

    def _choose(self, cache: Cache, rows: NDArray[np.int64], prefixes: NDArray[np.int64]) -> None:
        """Bring the cache's rows into the order of these prefixes."""
        before = prefixes[:, :-1]
        if np.array_equal(rows, self._rows) and np.array_equal(before, self._prefixes):
            return
        pairs = zip(self._rows.tolist(), self._prefixes, strict=True)
        places = {(row, prefix.tobytes()): place for place, (row, prefix) in enumerate(pairs)}
        wanted = zip(rows.tolist(), np.ascontiguousarray(before), strict=True)
        cache.choose(np.array([places[row, prefix.tobytes()] for row, prefix in wanted]))
