"""schedule: the schedules of a home, listed, paused, resumed, run and deleted."""

import time
from typing import Any, Literal

from tidegate.infra.errors import InfraError
from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.schedules.keeper import ensure_kept, not_kept, problem_of
from tidegate.pipelines.commands.schedules.telling import recent_lines, schedule_data, schedule_row
from tidegate.pipelines.errors import PipelineError, UsageError, error_message
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.scheduling.document import ScheduleState, Start, delete, names, require, update
from tidegate.pipelines.state.home import Home

Action = Literal["list", "pause", "resume", "run", "delete"]
LASTING = ("new_data", "drift", "model")  # what a trigger saw once; it would not see it again


def schedule(home: Home, action: Action, name: str | None = None) -> Result:
    """Look at the schedules of a home or a cluster, or change one.

    Args:
        home: the home.
        action: list them, or one of them with what became of its last starts; pause or resume one; run one now; delete
            it, which its runs and its endpoint outlive.
        name: the schedule's; needed for all but `list`.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: no name.
    """
    if action == "list":
        return _list(home, name)
    if name is None:
        raise UsageError(f"schedule {action} needs NAME; received none; `tidegate schedule list` lists them")
    if action == "delete":  # whatever is wrong with it
        return _delete(home, name)
    require(home.store, name)
    return {"pause": _pause, "resume": _resume, "run": _run}[action](home, name)


def _list(home: Home, name: str | None) -> Result:
    now = time.time()
    pairs, wrong = _read(home, [name] if name else names(home.store))
    if name in wrong:
        raise wrong[name]
    data = [
        known if known["problem"] else {**known, "problem": problem_of(home, state)}
        for state, experiment in pairs
        for known in [schedule_data(state, experiment, now)]
    ]
    if not data and not wrong:
        where = home.path if home.target is None else f"target {home.target.name}"
        return Result(data, f"no schedules in {where}; `tidegate submit FILE --schedule` sets one")
    headers = ("schedule", "starts", "next", "last run", "so far")
    lines = [table(headers, [schedule_row(state, experiment, now) for state, experiment in pairs])]
    lines += [f"{one['name']}: {one['problem']}" for one in data if one["problem"]]
    lines += [f"{one}: {error_message(error)}" for one, error in wrong.items()]
    data += [{"name": one, "problem": error_message(error)} for one, error in wrong.items()]
    if name is not None:
        lines += ["", *recent_lines(*pairs[0])]
    if said := not_kept(home):
        lines.append(said)
    return Result(data, "\n".join(lines))


def _read(
    home: Home, wanted: list[str]
) -> tuple[list[tuple[ScheduleState, Experiment]], dict[str, Exception]]:
    """Schedules with their experiments, and of those that cannot be read why: one hides no other."""
    pairs, wrong = list[tuple[ScheduleState, Experiment]](), dict[str, Exception]()
    for name in wanted:
        try:
            state = require(home.store, name)
            pairs.append((state, validate(state.experiment, f"schedule {name}")))
        except (PipelineError, ModelsError, InfraError) as error:
            wrong[name] = error
    return pairs, wrong


def _pause(home: Home, name: str) -> Result:
    """Moments that pass are not wanted; what a trigger has seen is, once it is resumed."""

    def paused(state: ScheduleState) -> ScheduleState:
        owed = tuple(one for one in state.owed if one.cause in LASTING)
        return state.model_copy(update={"paused": True, "owed": owed})

    update(home.store, name, paused)
    text = f"schedule {name} is paused; `tidegate schedule resume {name}` lets it start runs again"
    return Result({"schedule": name, "paused": True}, text)


def _resume(home: Home, name: str) -> Result:
    now = time.time()

    def resumed(state: ScheduleState) -> ScheduleState:
        """Moments that passed meanwhile were not missed: nobody wanted them."""
        again = {"paused": False, "handled": max(now, state.handled)} if state.paused else {}
        return state.model_copy(update=again)

    state = update(home.store, name, resumed)
    return _kept(home, state, {"schedule": name, "paused": False}, f"schedule {name} starts runs")


def _run(home: Home, name: str) -> Result:
    """Owe a start now; the scheduler begins it as any other, after the run that is underway."""
    now = time.time()
    start = Start(id=f"hand {now:.3f}", cause="hand", moment=now, at=now)

    def owed(state: ScheduleState) -> ScheduleState:
        if any(one.cause == "hand" for one in state.owed):
            return state
        return state.model_copy(update={"owed": (start, *state.owed)})

    state = update(home.store, name, owed)
    text = f"schedule {name} starts a run; `tidegate schedule list {name}` shows which"
    return _kept(home, state, {"schedule": name, "owed": start.id}, text)


def _kept(home: Home, state: ScheduleState | None, data: dict[str, Any], text: str) -> Result:
    """The result of a command after which something must start runs, with what keeps that from happening."""
    problem = ensure_kept(home, state) if state is not None else ""
    return Result(
        {**data, "problem": problem} if problem else data, f"{text}\n{problem}" if problem else text
    )


def _delete(home: Home, name: str) -> Result:
    delete(home.store, name)
    return Result(
        {"schedule": name, "deleted": True}, f"schedule {name} is deleted; its runs and its endpoint stay"
    )
