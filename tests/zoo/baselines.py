"""What others reach on the same rows: nearest neighbours under time warping, gradient boosting, counted tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.data.sequences import lengths
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.transforms import Transforms

Floats = NDArray[np.float64]


def dtw_accuracy(train: Columns, test: Columns, target: str) -> float:
    """Accuracy of the nearest training series under dynamic time warping without a window, all channels together.

    The archives' baseline 1-NN DTW, of several channels DTW_D (Shokoohi-Yekta et al., "Generalizing DTW to the
    multi-dimensional case requires an adaptive approach", 2017). Series as they are in the archive.
    """
    known, asked = _channels(train["series"]), _channels(test["series"])
    ends = lengths(known)
    nearest = [
        int(_distances(known, ends, series[:length]).argmin())
        for series, length in zip(asked, lengths(asked), strict=True)
    ]
    return float(np.mean(train[target][nearest] == test[target]))


def _channels(column: NDArray[Any]) -> Floats:
    column = column.astype(np.float64)
    return column[:, :, None] if column.ndim == 2 else column


def _distances(known: Floats, ends: NDArray[np.int64], series: Floats) -> Floats:
    """Squared DTW distance of one series `(steps, channels)` to each known one, `(n,)`."""
    rows, steps, _ = known.shape
    before = np.full((rows, steps + 1), np.inf)
    before[:, 0] = 0
    for value in series:
        cost = ((np.nan_to_num(known) - value) ** 2).sum(axis=2)
        reached = np.minimum(before[:, 1:], before[:, :-1])
        current = np.full((rows, steps + 1), np.inf)
        for step in range(steps):
            current[:, step + 1] = cost[:, step] + np.minimum(reached[:, step], current[:, step])
        before = current
    return before[np.arange(rows), ends]


def boosting(schema: Any, transforms: Transforms, train: Columns, test: Columns) -> float:
    """Accuracy or R2 of scikit-learn's histogram gradient boosting as it comes, on the same encoded rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor
    if schema.target.task == "classification":
        kind = HistGradientBoostingClassifier
    model = kind(random_state=0)
    known, asked = (transforms.apply(part)["features"] for part in (train, test))
    truth = encode_target(schema, test)
    model.fit(known, encode_target(schema, train).ravel())
    return float(model.score(asked, truth.ravel()))


def markov_loss(train: list[list[int]], test: list[list[int]], kinds: int, order: int = 3) -> float:
    """Nats a token of a Markov model of `order` tokens, Witten-Bell smoothed down to equal probabilities.

    Witten and Bell, "The Zero-Frequency Problem", IEEE Transactions on Information Theory 37(4), 1991: what has
    followed n times with d different tokens counts n / (n + d), the next shorter context d / (n + d).

    Args:
        train, test: series as token numbers; before a series there is nothing, and contexts are shorter there.
        kinds: distinct tokens.
        order: tokens of the longest context.
    """
    counts: dict[tuple[int, ...], Floats] = {}
    for series in train:
        for place, token in enumerate(series):
            for length in range(min(order, place) + 1):
                counts.setdefault(tuple(series[place - length : place]), np.zeros(kinds))[token] += 1
    logs = []
    for series in test:
        for place, token in enumerate(series):
            chance = np.full(kinds, 1 / kinds)
            for length in range(min(order, place) + 1):
                seen = counts.get(tuple(series[place - length : place]))
                if seen is not None:
                    different = (seen > 0).sum()
                    chance = (seen + different * chance) / (seen.sum() + different)
            logs.append(np.log(chance[token]))
    return float(-np.mean(logs))


def kneser_ney(train: list[list[int]], test: list[list[int]], kinds: int, order: int = 4) -> float:
    """Perplexity a token of an interpolated Kneser-Ney model of `order` tokens at a time, the token asked for included.

    Kneser, Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995, interpolated and with one discount an
    order, n1 / (n1 + 2 n2), as in Chen, Goodman, "An empirical study of smoothing techniques for language modeling",
    1999, section 2.7. Below single tokens all are equally probable.

    Args:
        train, test: texts as token numbers, each with its end; what is before a text counts as token -1.
        kinds: distinct tokens.
        order: tokens of the longest piece counted.
    """
    counts = _continued_counts(train, order)
    tables = [_Discounted(known) for known in counts]
    logs = []
    for text in test:
        whole = [-1] * (order - 1) + text
        for place in range(order - 1, len(whole)):
            chance = 1 / kinds
            for length, table in enumerate(tables):
                chance = table.chance(tuple(whole[place - length : place]), whole[place], chance)
            logs.append(np.log(chance))
    return float(np.exp(-np.mean(logs)))


def _continued_counts(train: list[list[int]], order: int) -> list[Counter[tuple[int, ...]]]:
    """For each length the counts that Kneser and Ney take: of the longest pieces how often they are, of a shorter one
    in how many different places it stands: before it are so many different tokens."""
    longest: Counter[tuple[int, ...]] = Counter()
    for text in train:
        whole = [-1] * (order - 1) + text
        longest.update(tuple(whole[end - order : end]) for end in range(order, len(whole) + 1))
    counts = [longest]
    for _ in range(order - 1):
        counts.insert(0, Counter(piece[1:] for piece in counts[0]))
    return counts


class _Discounted:
    """The pieces of one length: chances of the last token after those before it."""

    def __init__(self, counts: Counter[tuple[int, ...]]) -> None:
        self._counts = counts
        of_counts = Counter(counts.values())
        self._discount = of_counts[1] / max(1, of_counts[1] + 2 * of_counts[2])
        self._totals: Counter[tuple[int, ...]] = Counter()
        self._kinds: Counter[tuple[int, ...]] = Counter()
        for piece, count in counts.items():
            self._totals[piece[:-1]] += count
            self._kinds[piece[:-1]] += 1

    def chance(self, context: tuple[int, ...], token: int, shorter: float) -> float:
        """With `shorter`, the chance after one token less."""
        total = self._totals[context]
        if not total:
            return shorter
        left = max(0.0, self._counts[(*context, token)] - self._discount)
        return (left + self._discount * self._kinds[context] * shorter) / total
