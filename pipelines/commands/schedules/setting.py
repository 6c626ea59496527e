"""`submit --schedule`: the schedule of an experiment is set, or set anew."""

import time
from collections.abc import Iterator
from typing import Any

from tidegate.pipelines.commands.schedules.keeper import ensure_kept
from tidegate.pipelines.commands.schedules.looking import Unseen, data_stamp
from tidegate.pipelines.commands.schedules.on_cluster import keep_for_cluster, kept_text
from tidegate.pipelines.commands.schedules.telling import next_text
from tidegate.pipelines.errors import ExperimentError, UsageError, nearest
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.result import Result
from tidegate.pipelines.scheduling.document import Looks, ScheduleState, change, find
from tidegate.pipelines.scheduling.times import next_start
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home

PARTS = ("schedule", "trigger")


def set_schedule(home: Home, experiment: Experiment, *, detach: bool, executor: str) -> Result:
    """Set the schedule that an experiment states, and start the home's scheduler; nothing is run now.

    On a cluster its own scheduler keeps it, from the store, so this machine may be off.

    What is owed and what triggers have seen stays where their part of the file stays.

    Raises:
        UsageError: another option says how a run is to run.
        ExperimentError: the experiment states no schedule, or one that could never start anything.
    """
    if detach or executor != "local":
        given = "--detach" if detach else f"--executor {executor}"
        raise UsageError(
            f"--schedule with {given}: nothing is run now, and later runs are detached; leave one of the two out"
        )
    _check(home, experiment)
    cluster = None if home.target is None else keep_for_cluster(home, experiment)
    now = time.time()
    before = find(home.store, experiment.name)
    looks = _first_looks(home, experiment)

    def changed(known: ScheduleState | None) -> ScheduleState:
        return _set(known, experiment, looks, now).model_copy(update={"cluster": cluster})

    state = change(home.store, experiment.name, changed)
    assert state is not None
    problem = ensure_kept(home, state)
    at = next_start(state, experiment.schedule, now)
    words = "is as it was" if before == state else "is set" if before is None else "is set anew"
    data = {"schedule": state.name, "next": at, "paused": state.paused}
    data |= {"problem": problem} if problem else {}
    text = f"schedule {state.name} {words}; next start: {next_text(at, experiment.schedule)}"
    if home.target is not None:
        text += f"\n{kept_text(experiment)}"
    if state.paused:
        text += f"\nit is paused; `tidegate schedule resume {state.name}` lets it start runs again"
    if problem:
        text += f"\n{problem}"
    return Result(data, text)


def _set(known: ScheduleState | None, experiment: Experiment, looks: Looks, now: float) -> ScheduleState:
    document = experiment.model_dump(mode="json")
    if known is None:
        return ScheduleState(name=experiment.name, experiment=document, created=now, handled=now, looks=looks)
    more: dict[str, Any] = {}
    if known.experiment.get("schedule") != document["schedule"]:
        # Moments of the old times are not owed any more, and those of the new ones begin now.
        owed = tuple(one for one in known.owed if one.cause not in ("cron", "catch_up"))
        more = {"handled": now, "owed": owed}
    if known.experiment.get("trigger") != document["trigger"] or _data(known.experiment) != _data(document):
        more["looks"] = looks
    return known.model_copy(update={"experiment": document, **more})


def _data(document: dict[str, Any]) -> Any:
    return document.get("data")


def _first_looks(home: Home, experiment: Experiment) -> Looks:
    """What is there now is not new."""
    if not any(trigger.new_data for trigger in experiment.trigger):
        return Looks()
    stamp = data_stamp(home, experiment)
    if isinstance(stamp, Unseen):
        raise ExperimentError(f"trigger.new_data: {stamp.problem}")
    return Looks(stamp=stamp, since=time.time(), used=stamp)


def _check(home: Home, experiment: Experiment) -> None:
    """Refuse what could never start a run."""
    if experiment.schedule is None and not experiment.trigger:
        there = find(home.store, experiment.name) is not None
        fix = (
            f"`tidegate schedule delete {experiment.name}` removes the one that is set"
            if there
            else "write one into the file"
        )
        raise ExperimentError(
            "--schedule: the experiment has no schedule and no trigger; expected one, such as "
            f"schedule: {{cron: '0 3 * * *'}}; {fix}"
        )
    for trigger in experiment.trigger:
        if trigger.new_data is not None and not experiment.data.paths:
            raise ExperimentError(
                "trigger.new_data: the experiment has no data.source whose files could change; expected one; leave the "
                "trigger out, or give a schedule"
            )
        if trigger.model == experiment.endpoint:
            raise ExperimentError(
                f"trigger.model: {trigger.model} is the experiment's own endpoint, so each release would start the "
                "next run; expected another endpoint; correct it"
            )
        if trigger.model is None:
            continue
        names = [state.name for state in known_endpoints(home)]
        if trigger.model not in names:
            raise ExperimentError(
                f'trigger.model: no endpoint "{trigger.model}" here{nearest(trigger.model, names)}; expected one of: '
                f"{', '.join(names) or 'none yet'}; submit its experiment first"
            )


def not_set(home: Home, experiment: Experiment) -> Iterator[str]:
    """Why what the file says of a schedule has no effect by itself."""
    known, document = (
        find(home.store, experiment.name),
        experiment.model_dump(mode="json", include=set(PARTS)),
    )
    if known is None:
        yield (
            "the file's schedule and trigger are not set by this run; `tidegate submit FILE --schedule` sets them"
        )
    elif any(known.experiment.get(part) != document[part] for part in PARTS):
        yield "the file's schedule differs from the one that is set; `tidegate submit FILE --schedule` sets it anew"
