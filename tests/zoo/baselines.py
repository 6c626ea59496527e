"""What others reach on the same rows: nearest neighbours under time warping, and gradient boosting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.columns import Columns
from models.ragged import lengths
from models.transforms import Transforms, encode_target

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


def markov_loss(train: Columns, test: Columns, order: int = 3) -> float:
    """Nats a sample of a Markov model of `order` samples, Witten-Bell smoothed down to equal probabilities.

    Witten and Bell, "The Zero-Frequency Problem", IEEE Transactions on Information Theory 37(4), 1991: what has
    followed n times with d different samples counts n / (n + d), the next shorter context d / (n + d).
    """
    levels = int(max(train["next"].max(), test["next"].max())) + 1
    counts: list[dict[tuple[int, ...], Floats]] = [{} for _ in range(order + 1)]
    for past, following in zip(train["past"].tolist(), train["next"].tolist(), strict=True):
        for length in range(order + 1):
            context = tuple(past[len(past) - length :])
            counts[length].setdefault(context, np.zeros(levels))[following] += 1
    logs = []
    for past, following in zip(test["past"].tolist(), test["next"].tolist(), strict=True):
        chance = np.full(levels, 1 / levels)
        for length in range(order + 1):
            seen = counts[length].get(tuple(past[len(past) - length :]))
            if seen is not None:
                kinds = (seen > 0).sum()
                chance = (seen + kinds * chance) / (seen.sum() + kinds)
        logs.append(np.log(chance[following]))
    return float(-np.mean(logs))
