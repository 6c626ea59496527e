"""The next trial's values.

A result depends only on the arguments, not on the number of planned trials: a search that gets more trials later
suggests exactly the old ones again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError
from tidegate.models.tuning.entries import Choices, Entry
from tidegate.models.tuning.grid import Grid
from tidegate.models.tuning.space import space_of

METHODS = ("grid", "random", "tpe")
RANDOM_FIRST = 5  # trials that tpe draws at random before it uses their results


def suggest(search: Mapping[str, Any], index: int, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of one trial; see `Suggester`, which is quicker for several."""
    return Suggester(search).suggest(index, history)


class Suggester:
    """Suggests the values of trials; of tpe it keeps the study, so that each result is learned once.

    Args:
        search: the experiment's `search`: method, space, seed (0), direction ("maximize", or "minimize").

    Raises:
        OptionsError: method or space is wrong.
    """

    def __init__(self, search: Mapping[str, Any]) -> None:
        self._method = str(search.get("method", "tpe"))
        self._seed, self._direction = int(search.get("seed", 0)), str(search.get("direction", "maximize"))
        self._space = space_of(search["space"])
        if self._method not in METHODS:
            raise OptionsError(f"unknown search method {self._method!r}{did_you_mean(self._method, METHODS)}")
        self._grid = Grid(self._space) if self._method == "grid" else None
        self._study: Any = None
        self._learned = 0

    def suggest(self, index: int, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the values of trial `index` by dotted name, the same for the same arguments.

        Args:
            index: the trial's number, from 0.
            history: finished trials as {"params": {name: value}, "value": number or None}; only tpe uses it. When
                trials run in parallel, pass a fixed prefix; otherwise the values depend on which trial finished
                first. It begins with what the call before was given.

        Raises:
            OptionsError: a grid has no trial of that number.
        """
        return self._grid.at(index) if self._grid is not None else self._drawn(index, history)

    def _drawn(self, index: int, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import optuna

        study = self._study_of(history if self._method == "tpe" else ())
        study.sampler = self._sampler(index)
        trial = study.ask()
        values: dict[str, Any] = {}
        for name in self._space.order:
            if self._space.exists(name, values):
                values[name] = _asked(trial, name, self._space[name])
        study.tell(trial, state=optuna.trial.TrialState.FAIL)  # its result comes, if at all, with a history
        return {name: values[name] for name in self._space if name in values}

    def _sampler(self, index: int) -> Any:
        import numpy as np
        from optuna import samplers

        seed = int(np.random.SeedSequence([self._seed, index]).generate_state(1)[0])
        if self._method == "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_FIRST)
        return samplers.RandomSampler(seed)

    def _study_of(self, history: Sequence[Mapping[str, Any]]) -> Any:
        """The study that has learned the history."""
        import optuna

        if self._study is None or self._method != "tpe" or len(history) < self._learned:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._study, self._learned = optuna.create_study(direction=self._direction), 0
        for past in history[self._learned :]:
            self._learn(past)
        self._learned = len(history)
        return self._study

    def _learn(self, past: Mapping[str, Any]) -> None:
        import optuna

        params = past["params"]
        there = [name for name in self._space.order if self._space.exists(name, params)]
        coded = {name: _coded(self._space[name], params.get(name)) for name in there}
        other = len(coded) != len(params) or any(
            value is None or isinstance(value, str) for value in coded.values()
        )
        if past["value"] is None or other:
            return
        # create_trial refuses a trial of a space that has changed since: it teaches nothing about this one.
        with suppress(ValueError):
            distributions = {name: _distribution(self._space[name]) for name in there}
            self._study.add_trial(
                optuna.trial.create_trial(params=coded, distributions=distributions, value=past["value"])
            )


def _asked(trial: Any, name: str, entry: Entry) -> Any:
    if isinstance(entry, Choices):  # by index: a choice may be a list, which Optuna does not accept
        return entry.choices[trial.suggest_categorical(name, range(len(entry.choices)))]
    if entry.whole:
        step = int(entry.step or 1)
        return trial.suggest_int(name, int(entry.low), int(entry.high), log=entry.log, step=step)
    drawn = trial.suggest_float(name, float(entry.low), float(entry.high), log=entry.log, step=entry.step)
    return entry.nearest(drawn)


def _distribution(entry: Entry) -> Any:
    from optuna import distributions

    if isinstance(entry, Choices):
        return distributions.CategoricalDistribution(range(len(entry.choices)))
    if entry.whole:
        return distributions.IntDistribution(
            int(entry.low), int(entry.high), log=entry.log, step=int(entry.step or 1)
        )
    return distributions.FloatDistribution(
        float(entry.low), float(entry.high), log=entry.log, step=entry.step
    )


def _coded(entry: Entry, value: Any) -> Any:
    return entry.index(value) if isinstance(entry, Choices) else value
