"""schedule: the schedules of a home, listed, paused, resumed, run and deleted."""

import time
from typing import Any, Literal

from tidegate.infra.errors import InfraError
from tidegate.infra.system import processes
from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.schedules.scheduler import NAME, ensure_scheduler
from tidegate.pipelines.commands.schedules.telling import recent_lines, schedule_data, schedule_row
from tidegate.pipelines.errors import PipelineError, UsageError, error_message
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.result import Result, item, table
from tidegate.pipelines.scheduling.document import ScheduleState, Start, delete, names, require, update
from tidegate.pipelines.state.home import Home

Action = Literal["list", "pause", "resume", "run", "delete"]
UP = "`tidegate up` starts it"
LASTING = ("new_data", "drift", "model")  # what a trigger saw once; it would not see it again


def schedule(home: Home, action: Action, name: str | None = None) -> Result:
    """Look at the schedules of a home, or change one.

    Args:
        home: the home.
        action: list them, or one of them with what became of its last starts; pause or resume one; run one now; delete
            it, which its runs and its endpoint outlive.
        name: the schedule's; needed for all but `list`.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: no name, or a target that has no scheduler.
    """
    if home.target is not None:
        raise UsageError(
            f"schedule with --target {home.target.name}: schedules are those of this machine's home; expected --target "
            "local; leave --target out"
        )
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
    data = [schedule_data(state, experiment, now) for state, experiment in pairs]
    if not data and not wrong:
        return Result(data, f"no schedules in {home.path}; `tidegate submit FILE --schedule` sets one")
    headers = ("schedule", "starts", "next", "last run", "so far")
    lines = [table(headers, [schedule_row(state, experiment, now) for state, experiment in pairs])]
    lines += [f"{one['name']}: {one['problem']}" for one in data if one["problem"]]
    lines += [f"{one}: {error_message(error)}" for one, error in wrong.items()]
    data += [{"name": one, "problem": error_message(error)} for one, error in wrong.items()]
    if name is not None:
        lines += ["", *recent_lines(*pairs[0])]
    if processes.find(home.processes, NAME) is None:
        lines.append(f"the home's scheduler does not run, so nothing is started; {UP}")
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

    update(home.store, name, resumed)
    ensure_scheduler(home)
    return Result({"schedule": name, "paused": False}, f"schedule {name} starts runs")


def _run(home: Home, name: str) -> Result:
    """Owe a start now; the scheduler begins it as any other, after the run that is underway."""
    now = time.time()
    start = Start(id=f"hand {now:.3f}", cause="hand", moment=now, at=now)

    def owed(state: ScheduleState) -> ScheduleState:
        if any(one.cause == "hand" for one in state.owed):
            return state
        return state.model_copy(update={"owed": (start, *state.owed)})

    update(home.store, name, owed)
    ensure_scheduler(home)
    text = f"schedule {name} starts a run; `tidegate schedule list {name}` shows which"
    return Result({"schedule": name, "owed": start.id}, text)


def _delete(home: Home, name: str) -> Result:
    delete(home.store, name)
    return Result(
        {"schedule": name, "deleted": True}, f"schedule {name} is deleted; its runs and its endpoint stay"
    )


def check_scheduler(home: Home) -> list[dict[str, Any]]:
    """One item for the home's scheduler."""
    known, record = names(home.store), processes.find(home.processes, NAME)
    if record is not None:
        return [item(NAME, True, f"process {record.pid} keeps {len(known)} schedules")]
    if known:
        return [item(NAME, False, f"does not run, and {', '.join(known)} need it", "tidegate up")]
    return [item(NAME, True, "none; no schedule needs it")]
