"""How far two models differ on the same rows, and how far chance alone could have made them differ, in NumPy alone.

- Accuracy: only the rows that one model alone gets right tell them apart, as in McNemar, "Note on the sampling error of
  the difference between correlated proportions or percentages" (1947); the interval of their share is that of Clopper
  and Pearson (1934), which is exact however few they are.
- AUC: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
  characteristic curves" (1988).
- Precision and others that are rarely asked for: the jackknife over groups of rows.
- All others are functions of sums over rows: the percentile bootstrap of pairs, Efron and Tibshirani, "An Introduction
  to the Bootstrap" (1993), with a fixed seed. Beyond BLOCKS rows it draws blocks of rows, so that a million rows take
  no longer; the rows of a block are apart in the data, and the width is right within some two percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.metrics import top_k
from tidegate.models.evaluation.metrics import BINS, SMALLEST, evaluate

Floats = NDArray[np.float64]
Interval = tuple[float, float]
Sums = Callable[[NDArray[Any]], Floats]  # predictions to sums `(blocks, k)`
Value = Callable[[Floats], Floats]  # sums `(resamples, k)` to the metric `(resamples,)`

RESAMPLES = 2000
BLOCKS = 1000
GROUPS = 20  # of rows, each of which is left out once
EXACT = 5000  # rows that tell two models apart, above which the normal approximation is as good
HALVINGS = 60
UNKNOWN: Interval = (float("nan"), float("nan"))


def interval(
    metric: str,
    task: str,
    truth: NDArray[Any],
    predictions: tuple[NDArray[Any], NDArray[Any]],
    confidence: float,
    names: Sequence[str] = (),
) -> Interval:
    """The interval of the first model's metric minus the second's.

    Args:
        metric: as `evaluation.metrics.evaluate` names it, such as "auc" or "rmse_depth".
        task: "classification" or "regression".
        truth: `(n,)` or `(n, values)`, as for `evaluate`.
        predictions: of both models, as for `evaluate`.
        confidence: such as 0.95: the share of such intervals that hold the true difference.
        names: the target's columns.

    Returns:
        Lower and upper end; NaN where the metric is not defined.
    """
    ours, theirs = (np.asarray(one, np.float64) for one in predictions)
    if len(truth) < 2:
        return UNKNOWN
    if task == "classification":
        labels = np.asarray(truth).astype(np.int64)
        if metric == "accuracy":
            return _accuracy(labels, ours, theirs, confidence)
        if metric == "auc":
            return _auc(labels, ours, theirs, confidence)
        if metric not in ("loss", "f1", "ece"):
            return _by_groups(metric, labels, ours, theirs, confidence)
        sums, value = _of_classes(metric, labels, ours.shape[1])
    else:
        numbers = np.asarray(truth, np.float64).reshape(len(ours), -1)
        sums, value = _of_numbers(metric, numbers, list(names))
    return bootstrap(sums(ours), sums(theirs), value, confidence)


def token_interval(metric: str, sums: tuple[Floats, Floats], confidence: float) -> Interval:
    """The interval of "loss", "perplexity" or "accuracy" of texts, from each model's `text_metrics.token_sums`."""
    place = 2 if metric == "accuracy" else 0
    link: Value = np.exp if metric == "perplexity" else np.asarray
    ours, theirs = (_blocks(one) for one in sums)
    return bootstrap(ours, theirs, lambda found: link(found[:, place] / found[:, 1]), confidence)


def bootstrap(ours: Floats, theirs: Floats, value: Value, confidence: float) -> Interval:
    """The percentile interval of `value(ours) - value(theirs)` over resampled blocks.

    Args:
        ours, theirs: sums `(blocks, k)` over the rows of each block.
        value: sums `(resamples, k)` to the metric.
        confidence: see `interval`.
    """
    count, random = len(ours), np.random.default_rng(0)
    step = max(1, int(4e6) // max(count, ours.shape[1]))
    found: list[Floats] = []
    for start in range(0, RESAMPLES, step):
        draws = random.integers(0, count, (min(step, RESAMPLES - start), count))
        draws += count * np.arange(len(draws))[:, None]
        times = np.bincount(draws.ravel(), minlength=draws.size).reshape(draws.shape).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(value(times @ ours) - value(times @ theirs))
    differences = np.concatenate(found)
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return UNKNOWN
    tail = (1 - confidence) / 2
    low, middle, high = (float(one) for one in np.quantile(differences, [tail, 0.5, 1 - tail]))
    # Of few rows the resamples vary less than new rows would.
    wider = _student(confidence, max(1, count - 1)) / NormalDist().inv_cdf(1 - tail)
    wider *= math.sqrt(count / max(1, count - 1))
    return middle - wider * (middle - low), middle + wider * (high - middle)


def jackknife(values: Sequence[float], whole: float, confidence: float) -> Interval:
    """The interval of a difference from its values without one group of rows each: Quenouille (1956), Tukey (1958).

    Args:
        values: the difference without each group; of groups of equal size.
        whole: the difference with all rows.
        confidence: see `interval`.
    """
    count = len(values)
    deviation = math.sqrt((count - 1) / count * float(np.sum((np.array(values) - np.mean(values)) ** 2)))
    width = _student(confidence, count - 1) * deviation
    return whole - width, whole + width


def _by_groups(
    metric: str, truth: NDArray[np.int64], ours: Floats, theirs: Floats, confidence: float
) -> Interval:
    """Of any metric of a classification, by leaving out each of GROUPS groups of rows."""
    rows, count = np.arange(len(truth)), min(GROUPS, len(truth))

    def difference(kept: NDArray[np.bool_]) -> float:
        facts: tuple[Any, ...] = ((), (), top_k([metric]))
        values = [evaluate("classification", truth[kept], one[kept], *facts).values for one in (ours, theirs)]
        return values[0].get(metric, math.nan) - values[1].get(metric, math.nan)

    without = [difference(rows % count != group) for group in range(count)]
    return jackknife(without, difference(rows >= 0), confidence)


def _student(confidence: float, degrees: int) -> float:
    """Student's t quantile of both tails, by the first terms of Cornish and Fisher's expansion (1937)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2


def _blocks(rows: Floats) -> Floats:
    """Sums over blocks of rows, each block taken from all over the data."""
    count = min(len(rows), BLOCKS)
    sums = np.zeros((count, rows.shape[1]))
    whole = len(rows) // count * count
    sums += rows[:whole].reshape(-1, count, rows.shape[1]).sum(axis=0)
    sums[: len(rows) - whole] += rows[whole:]
    return sums


def _accuracy(truth: NDArray[np.int64], ours: Floats, theirs: Floats, confidence: float) -> Interval:
    right, other = ours.argmax(axis=1) == truth, theirs.argmax(axis=1) == truth
    won, differ = int(np.sum(right & ~other)), int(np.sum(right != other))
    low, high = _share_interval(won, differ, confidence)
    return (2 * low - 1) * differ / len(truth), (2 * high - 1) * differ / len(truth)


def _share_interval(won: int, count: int, confidence: float) -> Interval:
    """Clopper and Pearson's interval of a probability of which `won` of `count` were seen."""
    if count == 0:
        return 0.5, 0.5
    if count > EXACT:
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        width = z * math.sqrt(won * (count - won) / count**3)
        return won / count - width, won / count + width
    tail = (1 - confidence) / 2
    low = 0.0 if won == 0 else _where(lambda p: 1 - _at_most(won - 1, count, p) > tail)
    high = 1.0 if won == count else _where(lambda p: _at_most(won, count, p) < tail)
    return low, high


def _where(reached: Callable[[float], bool]) -> float:
    """The smallest number from 0 to 1 at which a condition, which stays true from there on, is true."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _at_most(most: int, count: int, probability: float) -> float:
    """The probability of at most `most` of `count`."""
    seen = np.arange(most + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    ways = logs[count] - logs[seen] - logs[count - seen]
    terms = ways + seen * math.log(probability) + (count - seen) * math.log1p(-probability)
    return float(np.exp(terms).sum())


def _auc(truth: NDArray[np.int64], ours: Floats, theirs: Floats, confidence: float) -> Interval:
    """Of several classes the mean over those that the rows have, as in `evaluation.metrics`."""
    present = [1] if ours.shape[1] == 2 else np.unique(truth).tolist()
    whole, moved = 0.0, np.zeros(len(truth))
    for one in present:
        positive = truth == one
        if positive.sum() < 2 or (~positive).sum() < 2:
            return UNKNOWN
        for sign, score in ((1.0, ours[:, one]), (-1.0, theirs[:, one])):
            area = 0.0
            for side, placed in zip((positive, ~positive), _placed(positive, score), strict=True):
                area = float(placed.mean())
                moved[side] += sign * (placed - area) / (len(placed) * len(present))
            whole += sign * area / len(present)
    width = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(float(np.sum(moved**2)))
    return whole - width, whole + width


def _placed(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """For each positive row the share of negative rows below it, for each negative one that of positive rows above."""
    high, low = score[positive], score[~positive]
    return _share_below(high, low), 1 - _share_below(low, high)


def _share_below(values: Floats, others: Floats) -> Floats:
    ordered = np.sort(others)
    both = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return both / (2 * len(others))


def _of_classes(metric: str, truth: NDArray[np.int64], classes: int) -> tuple[Sums, Value]:
    """How loss, f1 and ece follow from sums over rows; see `evaluation.metrics`."""
    rows = np.arange(len(truth))
    block = rows % min(len(truth), BLOCKS)

    def counted(places: NDArray[np.int64], width: int, weights: Floats | None = None) -> Floats:
        count = int(block.max()) + 1
        flat = np.bincount(block * width + places, weights, count * width)
        return flat.reshape(count, width).astype(np.float64)

    def losses(predicted: NDArray[Any]) -> Floats:
        true_class = np.clip(predicted[rows, truth], SMALLEST, 1 - SMALLEST)
        return _blocks(np.stack([np.ones(len(truth)), -np.log(true_class)], axis=1))

    def chosen(predicted: NDArray[Any]) -> Floats:
        best = predicted.argmax(axis=1)
        hits = counted(truth, classes, (best == truth).astype(np.float64))
        return np.concatenate([hits, counted(truth, classes) + counted(best, classes)], axis=1)

    def f1(sums: Floats) -> Floats:
        right, both = sums[:, :classes], sums[:, classes:]
        seen = both > 0
        return np.asarray((2 * right / np.where(seen, both, 1)).sum(axis=1) / seen.sum(axis=1))

    def binned(predicted: NDArray[Any]) -> Floats:
        highest = predicted.max(axis=1)
        place = np.clip(np.ceil(highest * BINS).astype(int) - 1, 0, BINS - 1)
        gap = (predicted.argmax(axis=1) == truth) - highest
        return np.concatenate([counted(place, BINS, gap), counted(place, BINS)], axis=1)

    def ece(sums: Floats) -> Floats:
        return np.asarray(np.abs(sums[:, :BINS]).sum(axis=1) / sums[:, BINS:].sum(axis=1))

    return {"f1": (chosen, f1), "ece": (binned, ece)}.get(
        metric, (losses, lambda sums: sums[:, 1] / sums[:, 0])
    )


def _of_numbers(metric: str, truth: Floats, names: list[str]) -> tuple[Sums, Value]:
    """How rmse, mae, r2 and loss, of all target columns or of one, follow from sums over rows."""
    kind, _, name = metric.partition("_")
    columns = [names.index(name)] if name in names else list(range(truth.shape[1]))
    if kind == "r2":
        columns = [place for place in columns if np.ptp(truth[:, place]) > 0]
    true, count = truth[:, columns], len(columns)

    def sums(predicted: NDArray[Any]) -> Floats:
        error = np.reshape(predicted, truth.shape)[:, columns] - true
        centred = true - true.mean(axis=0)
        parts = [np.ones((len(true), 1)), error**2, np.abs(error), centred, centred**2]
        return _blocks(np.concatenate(parts, axis=1))

    def value(found: Floats) -> Floats:
        means = found[:, 1:] / found[:, :1]
        squared, absolute, mean, square = (
            means[:, count * place : count * (place + 1)] for place in range(4)
        )
        if kind == "r2":
            return np.asarray(
                (1 - squared / np.maximum(square - mean**2, np.finfo(np.float64).tiny)).mean(axis=1)
            )
        return np.asarray({"rmse": np.sqrt(squared), "mae": absolute, "loss": squared}[kind].mean(axis=1))

    return sums, value
