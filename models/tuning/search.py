"""The next trial's values, and the rule that stops a hopeless trial. No state is kept between calls.

A result depends only on the arguments, not on the number of planned trials: a search that gets more trials later
suggests exactly the old ones again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, product
from statistics import median
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError
from tidegate.models.tuning.space import Between, Choices, space_of

METHODS = ("grid", "random", "tpe")
RANDOM_FIRST = 5  # trials that tpe draws at random before it uses their results


def grid_size(space: Mapping[str, Any]) -> int:
    """Return how many trials a grid over the space has; OptionsError as `suggest`."""
    return math.prod(len(entry.grid(name)) for name, entry in space_of(space).items())


def suggest(search: Mapping[str, Any], index: int, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of trial `index` by dotted name, the same for the same arguments.

    Args:
        search: the experiment's `search`: method, space, seed (0), direction ("maximize", or "minimize").
        index: the trial's number, from 0.
        history: finished trials as {"params": {name: value}, "value": number or None}; only tpe uses it. When trials
            run in parallel, pass a fixed prefix; otherwise the values depend on which trial finished first.

    Raises:
        OptionsError: method or space is wrong, or a grid has no trial of that number.
    """
    method = str(search.get("method", "tpe"))
    space = space_of(search["space"])
    if method not in METHODS:
        raise OptionsError(f"unknown search method {method!r}{did_you_mean(method, METHODS)}")
    if method == "grid":
        return _grid_point(space, index)
    return _drawn(space, method, search, index, history)


def _grid_point(space: Mapping[str, Choices | Between], index: int) -> dict[str, Any]:
    points = list(product(*(entry.grid(name) for name, entry in space.items())))
    if index >= len(points):
        raise OptionsError(
            f"trial {index + 1} was asked for and the grid has {len(points)}; expected at most that many; lower trials"
        )
    return dict(zip(space, points[index], strict=True))


def _drawn(
    space: Mapping[str, Choices | Between],
    method: str,
    search: Mapping[str, Any],
    index: int,
    history: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    import numpy as np
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = optuna.samplers
    seed = int(np.random.SeedSequence([int(search.get("seed", 0)), index]).generate_state(1)[0])
    tpe = method == "tpe"
    sampler = (
        samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_FIRST) if tpe else samplers.RandomSampler(seed)
    )
    study = optuna.create_study(sampler=sampler, direction=str(search.get("direction", "maximize")))
    distributions = {name: _distribution(entry) for name, entry in space.items()}
    for past in history if tpe else ():
        params = {name: _coded(space[name], past["params"].get(name)) for name in space}
        if past["value"] is None or any(value is None or isinstance(value, str) for value in params.values()):
            continue
        # create_trial refuses a trial of a space that has changed since: it teaches nothing about this one.
        with suppress(ValueError):
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=past["value"])
            )
    drawn = study.ask(distributions).params
    return {name: _decoded(entry, drawn[name]) for name, entry in space.items()}


def _distribution(entry: Choices | Between) -> Any:
    from optuna import distributions

    if isinstance(entry, Choices):  # by index: a choice may be a list, which Optuna does not accept
        return distributions.CategoricalDistribution(range(len(entry.choices)))
    if entry.whole:
        return distributions.IntDistribution(
            int(entry.low), int(entry.high), log=entry.log, step=int(entry.step or 1)
        )
    return distributions.FloatDistribution(
        float(entry.low), float(entry.high), log=entry.log, step=entry.step
    )


def _coded(entry: Choices | Between, value: Any) -> Any:
    if isinstance(entry, Between):
        return value
    return next((index for index, choice in enumerate(entry.choices) if choice == value), None)


def _decoded(entry: Choices | Between, value: Any) -> Any:
    return entry.choices[value] if isinstance(entry, Choices) else value


def medians(histories: Sequence[Sequence[float]], warmup: int, higher: bool = False) -> list[float | None]:
    """Return for each epoch the median over trials of their best value so far; None in the warm-up.

    A trial whose own best value is worse is stopped: the median stopping rule of Golovin et al., "Google Vizier"
    (2017), section 3.2.1, with the best value in place of the running average, as in Optuna's MedianPruner.

    Args:
        histories: for each finished trial the monitored value of each epoch.
        warmup: number of first epochs without a median.
        higher: whether a higher value is better.
    """
    best = [_best_so_far(history, higher) for history in histories]
    longest = max(map(len, best), default=0)
    return [
        None if epoch < warmup else median(values[epoch] for values in best if len(values) > epoch)
        for epoch in range(longest)
    ]


def _best_so_far(history: Sequence[float], higher: bool) -> list[float]:
    worst = -math.inf if higher else math.inf
    return list(
        accumulate((worst if math.isnan(value) else value for value in history), max if higher else min)
    )
