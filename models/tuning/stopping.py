"""Rules that stop a hopeless trial. Each gives a trial its limits by epoch before it starts; no state is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

Limits = list[float | None]


@dataclass(frozen=True)
class Curve:
    """An earlier trial: the monitored value of each epoch, and whether a rule stopped it."""

    values: Sequence[float]
    stopped: bool = False


def medians(histories: Sequence[Sequence[float]], warmup: int, higher: bool = False) -> Limits:
    """Return for each epoch the median over trials of their best value so far; None in the warm-up.

    A trial whose own best value is worse is stopped: the median stopping rule of Golovin et al., "Google Vizier"
    (2017), section 3.2.1, with the best value in place of the running average, as in Optuna's MedianPruner.

    Args:
        histories: for each finished trial the monitored value of each epoch.
        warmup: number of first epochs without a median.
        higher: whether a higher value is better.
    """
    from statistics import median  # an experiment is read without

    best = [_best_so_far(history, higher) for history in histories]
    longest = max(map(len, best), default=0)
    return [
        None if epoch < warmup else median(values[epoch] for values in best if len(values) > epoch)
        for epoch in range(longest)
    ]


def rungs(min_epochs: int, reduction_factor: int, epochs: int) -> list[int]:
    """Return the epochs after which successive halving decides: each `reduction_factor` times the one before it.

    Args:
        min_epochs: the first rung, in epochs.
        reduction_factor: 2 or more.
        epochs: of a whole training, after which there is nothing to decide.
    """
    found, rung = [], min_epochs
    while rung < epochs:
        found.append(rung)
        rung *= reduction_factor
    return found


def halving_limits(
    curves: Sequence[Curve], rung_epochs: Sequence[int], reduction_factor: int, higher: bool = False
) -> Limits:
    """Return for each epoch the value that a trial must reach to go on; None where it is no rung, or has no limit.

    Asynchronous successive halving: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020),
    algorithm 2, in the form that stops trials in place of pausing them, as Optuna's SuccessiveHalvingPruner and Ray's
    ASHAScheduler. At a rung a trial goes on if its best value so far is among the best 1 / reduction_factor of those
    that the earlier trials had there and of its own, or the very best while there are fewer of them. A trial that
    reached the rung and was stopped there counts; one that ended before it without being stopped, as by early
    stopping, counts with the best value that it ever had.

    Args:
        curves: the earlier trials.
        rung_epochs: see `rungs`.
        reduction_factor: 2 or more.
        higher: whether a higher value is better.
    """
    best = [(_best_so_far(curve.values, higher), curve.stopped) for curve in curves]
    limits: Limits = [None] * max(rung_epochs, default=0)
    for rung in rung_epochs:
        there = [
            values[min(rung, len(values)) - 1] for values, stopped in best if _counts(values, stopped, rung)
        ]
        kept = max(1, (len(there) + 1) // reduction_factor)
        if len(there) >= kept:
            limits[rung - 1] = sorted(there, reverse=higher)[kept - 1]
    return limits


def _counts(values: Sequence[float], stopped: bool, rung: int) -> bool:
    return bool(values) and (len(values) >= rung or not stopped)


def _best_so_far(history: Sequence[float], higher: bool) -> list[float]:
    worst = -math.inf if higher else math.inf
    return list(
        accumulate((worst if math.isnan(value) else value for value in history), max if higher else min)
    )
