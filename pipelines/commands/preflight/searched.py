"""The checks of a search: its space, and the experiment that each choice makes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tidegate.models.config.mistakes import WHOLE
from tidegate.models.errors import ModelsError, OptionsError, UnknownOptionError
from tidegate.models.tuning.entries import Between, Entry
from tidegate.models.tuning.grid import grid_size
from tidegate.models.tuning.space import SearchSpace, require_used, space_of
from tidegate.pipelines.commands.preflight.parts import part_checks
from tidegate.pipelines.commands.preflight.running import NEXT, run_checks
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.dotted import with_values
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.search import Search
from tidegate.pipelines.experiment.search_space import combinations, losses
from tidegate.pipelines.experiment.spec import Experiment


def check_space(experiment: Experiment) -> None:
    """Check the experiment that each choice, and each end of a range, makes."""
    if experiment.search is None:
        return
    document, space = experiment.model_dump(mode="json"), space_of(experiment.search.space)
    require_used(space, experiment.search.method)
    _check_trials(experiment.search, space)
    lost = list(losses(space, experiment.model_dump(mode="json", exclude_unset=True)))
    if lost:
        raise ExperimentError(NEXT.join(lost))
    for key in space:
        run_checks(
            partial(_check_choice, document, space[key], key, values) for values in combinations(space, key)
        )


def _check_trials(search: Search, space: SearchSpace) -> None:
    """Refuse more trials than a grid has."""
    size = grid_size(space) if search.method == "grid" else None
    if size is not None and search.trials is not None and search.trials > size:
        raise ExperimentError(
            f"search.trials: {search.trials}, and the grid has {size}; expected at most that many; lower it, or leave "
            "it out for the whole grid"
        )


def _check_choice(document: dict[str, Any], entry: Entry, key: str, values: dict[str, Any]) -> None:
    try:
        chosen = with_values(document, values)
    except ValueError as error:
        raise ExperimentError(f"search.space.{key}: {error}") from error
    where = f"search.space.{key}"
    try:
        run_checks(part_checks(validate(chosen, where)))
    except UnknownOptionError as error:
        raise OptionsError(f"{where}: {_absent(error, key, values)}") from error
    except (ExperimentError, ModelsError) as error:
        if WHOLE not in str(error) or not isinstance(entry, Between) or entry.whole:
            raise
        raise ExperimentError(f"{error}: low, high and step of {key} are not all whole numbers") from error


def _absent(error: UnknownOptionError, key: str, values: Mapping[str, Any]) -> str:
    """A message where an option is searched of something that has no such option."""
    beside = {one: value for one, value in values.items() if one != key}
    if not beside or key.rpartition(".")[2] != error.option:
        return str(error)
    there = " and ".join(f"{one} is {value!r}" for one, value in beside.items())
    return (
        f"{error.owner} has no option {error.option!r}, and {there} in some trials; expected that it is searched only "
        f"where there is one; add `when: {{{next(iter(beside))}: …}}` with the values that have it"
    )
