"""Schedules for people and programs."""

from typing import Any

from tidegate.pipelines.experiment.automation.schedule import FOR, Schedule, Trigger
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.scheduling.document import ScheduleState
from tidegate.pipelines.scheduling.times import moment_text, next_start


def schedule_data(state: ScheduleState, experiment: Experiment, now: float) -> dict[str, Any]:
    """A schedule as plain values."""
    return {
        "name": state.name,
        "endpoint": experiment.endpoint,
        "schedule": experiment.schedule.model_dump(mode="json") if experiment.schedule else None,
        "trigger": [one.model_dump(mode="json", exclude_none=True) for one in experiment.trigger],
        "paused": state.paused,
        "next": next_start(state, experiment.schedule, now),
        "owed": [one.model_dump(mode="json") for one in state.owed],
        "begun": state.begun.model_dump(mode="json") if state.begun else None,
        "last_run": state.last_run,
        "counts": dict(state.counts),
        "recent": [entry.model_dump(mode="json") for entry in state.recent],
        "problem": state.looks.problem,
    }


def schedule_row(state: ScheduleState, experiment: Experiment, now: float) -> tuple[str, ...]:
    """A schedule as a line of a table: name, what starts it, next start, last run, counts."""
    at = (
        "paused"
        if state.paused
        else next_text(next_start(state, experiment.schedule, now), experiment.schedule)
    )
    counts = ", ".join(f"{number} {outcome}" for outcome, number in state.counts.items())
    return state.name, "; ".join(causes(experiment)), at, state.last_run or "none yet", counts


def causes(experiment: Experiment) -> list[str]:
    """What starts it, in a few words each."""
    schedule = experiment.schedule
    cron = [] if schedule is None else [f"{schedule.cron} {schedule.timezone}"]
    return [*cron, *map(_trigger_text, experiment.trigger)]


def _trigger_text(trigger: Trigger) -> str:
    if trigger.new_data is not None:
        return f"new data for {trigger.new_data}"
    if trigger.model is not None:
        return f"a release of {trigger.model}"
    return f"drift {trigger.drift:g} for {trigger.for_ or FOR}"


def recent_lines(state: ScheduleState, experiment: Experiment, most: int = 10) -> list[str]:
    """What became of the last starts, the newest first."""
    timezone = experiment.schedule.timezone if experiment.schedule else "UTC"
    lines = []
    for entry in reversed(state.recent[-most:]):
        times = f"{entry.count} times, the last at " if entry.count > 1 else ""
        said = " ".join(filter(None, [entry.run, entry.reason]))
        when = moment_text(entry.moment, timezone)
        lines.append(f"{state.name}  {times}{when}  {entry.cause}  {entry.outcome}  {said}".rstrip())
    return lines


def next_text(at: float | None, schedule: Schedule | None) -> str:
    """The next start for people, in the schedule's time zone."""
    if at is None:
        return "when a trigger asks for one"
    return moment_text(at, schedule.timezone if schedule else "UTC")
