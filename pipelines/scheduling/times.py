"""What a schedule's moments ask for: a state, the time that it is, and the state that follows. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from tidegate.pipelines.experiment.automation.cron import moments
from tidegate.pipelines.experiment.automation.schedule import Schedule, age_seconds
from tidegate.pipelines.scheduling.document import Cause, Entry, Outcome, ScheduleState, Start, Told

LATE_S = 60.0  # a start that is later than this was missed: nothing was there to begin it
SET_BACK_S = 26 * 3600.0  # a clock that shows so much less than it did is believed: it was wrong before
MOST = 10_000  # moments that are counted one by one: a week of an every-minute schedule
DAY_S = 86400.0
MOST_TRIES = 5
PATIENCE_S = 3600.0  # a cluster's start is tried for at least so long: its API server may be away


def pass_time(state: ScheduleState, schedule: Schedule | None, now: float) -> ScheduleState:
    """The schedule at a later time: what has come due is owed, what is too late is missed.

    Args:
        state: as it was.
        schedule: of its experiment; None: triggers alone start it.
        now: seconds since the epoch, by a clock that may have been set.
    """
    if schedule is None:
        return state
    if now < state.handled - SET_BACK_S:
        still = [one for one in state.owed if one.cause != "cron" or one.queued or one.moment <= now]
        state = state.model_copy(update={"handled": now, "owed": tuple(still)})
    come = _between(schedule, state.handled, now)
    if not come and not state.owed:
        return state
    state = state.model_copy(update={"handled": max([state.handled, *come])})
    if state.paused:
        return state
    late = [moment for moment in come if now - moment > LATE_S]
    owed = [_start(state.name, schedule, moment) for moment in come if now - moment <= LATE_S]
    missed = [one for one in state.owed if one.cause == "cron" and not one.queued and now - one.at > LATE_S]
    kept = [one for one in state.owed if one not in missed]
    late = sorted([*(one.moment for one in missed), *late])
    state = state.model_copy(update={"owed": (*kept, *owed)})
    return _missed(state, schedule, late, now) if late else state


def _between(schedule: Schedule, after: float, now: float) -> Sequence[float]:
    """Moments after one and up to another; of very many the first ones, and those of the last day.

    So what is due now is among them, and the last one is the last.
    """

    def since(then: float) -> Iterator[float]:
        come = moments(schedule.cron, schedule.timezone, then)
        return takewhile(lambda moment: moment <= now, come)

    found = list(islice(since(after), MOST))
    return [*found, *since(max(found[-1], now - DAY_S))] if len(found) == MOST else found


def _missed(state: ScheduleState, schedule: Schedule, late: list[float], now: float) -> ScheduleState:
    """Moments at which nothing could start; one run may stand for all of them."""
    catches_up = schedule.catch_up == "one" and not any(not one.queued for one in state.owed)
    what = "one run makes up for it" if catches_up else "no run makes up for it"
    reason = (
        "nothing ran that could start it: the machine, or the home's scheduler, was off, or its clock was set"
    )
    more = "; of so many only a part is counted" if len(late) > MOST else ""
    state = missed(state, schedule.timezone, late, "cron", "missed", f"{reason}; {what}{more}")
    if not catches_up:
        return state
    owed = Start(id=f"catch_up {late[-1]:.0f}", cause="catch_up", moment=late[-1], at=now)
    return state.model_copy(update={"owed": (owed, *state.owed)})


def missed(
    state: ScheduleState, timezone: str, late: Sequence[float], cause: Cause, outcome: Outcome, reason: str
) -> ScheduleState:
    """Moments that passed without a run are written down and told."""
    state = state.with_entry(
        Entry(cause=cause, moment=late[-1], outcome=outcome, reason=reason, count=len(late))
    )
    first, last = moment_text(late[0], timezone), moment_text(late[-1], timezone)
    times = last if len(late) == 1 else f"{len(late)} moments from {first} to {last}"
    facts = {"schedule": state.name, "count": len(late), "first": first, "last": last, "reason": reason}
    title = f"the schedule {state.name} passed {times} without a run"
    told = Told(event="schedule_missed", moment=late[-1], title=title, facts=facts)
    return state.model_copy(update={"outbox": (*state.outbox, told)})


def _start(name: str, schedule: Schedule, moment: float) -> Start:
    return Start(
        id=f"cron {moment:.0f}", cause="cron", moment=moment, at=moment + delay(name, schedule, moment)
    )


def delay(name: str, schedule: Schedule, moment: float) -> float:
    """The jitter of a moment in seconds; the same whoever asks, so that a restart changes nothing."""
    drawn = hashlib.sha256(f"{name} {moment:.0f}".encode()).digest()
    return age_seconds(schedule.jitter) * int.from_bytes(drawn[:6], "big") / 2**48


def begin(state: ScheduleState, schedule: Schedule | None, now: float, underway: str | None) -> ScheduleState:
    """The schedule when what may begin has begun: one start at a time, of which `begun` is the next one.

    Args:
        state: as it was.
        schedule: of its experiment.
        now: seconds since the epoch.
        underway: the run of this schedule that has not ended; None: there is none.
    """
    due = [one for one in state.owed if _is_due(one, now) and (one.cause == "hand" or not state.paused)]
    if not due:
        return state
    rest = [one for one in state.owed if one not in due]
    if state.begun is None and underway is None:
        first, *others = due
        state = state.model_copy(update={"begun": first, "owed": (*others, *rest)})
        return _wait(state, schedule, others, rest, first.run or "the start before")
    return _wait(state, schedule, due, rest, underway or "the start before")


def _is_due(start: Start, now: float) -> bool:
    """Whether it may begin: only a moment's jitter is waited for, not a clock that was set back meanwhile."""
    return start.queued or start.cause != "cron" or start.at <= now


def _wait(
    state: ScheduleState, schedule: Schedule | None, due: list[Start], rest: list[Start], behind: str
) -> ScheduleState:
    """What is due and cannot begin: one start waits, if it may, and the others are skipped."""
    queues = [one for one in due if one.queued or one.cause != "cron" or _may_queue(schedule)]
    waiting = queues[:1]
    skipped = [one for one in due if one not in waiting]
    state = state.model_copy(
        update={"owed": (*(one.model_copy(update={"queued": True}) for one in waiting), *rest)}
    )
    for one in skipped:
        reason = f"{behind} was still underway" + (", and another start waits already" if waiting else "")
        state = missed(
            state, schedule.timezone if schedule else "UTC", [one.moment], one.cause, "skipped", reason
        )
    return state


def _may_queue(schedule: Schedule | None) -> bool:
    return schedule is not None and schedule.overlap == "queue"


def next_start(state: ScheduleState, schedule: Schedule | None, now: float) -> float | None:
    """When a run starts next, in seconds since the epoch; None: no time is known."""
    owed = [
        now if _is_due(one, now) else one.at for one in state.owed if one.cause == "hand" or not state.paused
    ]
    if schedule is not None and not state.paused:
        moment = next(iter(moments(schedule.cron, schedule.timezone, max(now, state.handled))), None)
        owed += [] if moment is None else [moment + delay(state.name, schedule, moment)]
    return min(owed, default=None)


def moment_text(moment: float, timezone: str) -> str:
    """A moment as people of a time zone read it."""
    return datetime.fromtimestamp(moment, ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M %Z")
