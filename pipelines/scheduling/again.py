"""A start whose run could not begin, as its data changed at that moment, is owed again."""

from datetime import datetime

from tidegate.infra.store import Store
from tidegate.pipelines.scheduling.document import ScheduleState, Start, update
from tidegate.pipelines.scheduling.times import MOST_TRIES, missed

SAME_S = 0.001  # a moment loses less than this on its way through a run's record


def owe_again(store: Store, cause: str, why: str, now: float) -> None:
    """Owe a start again; the scheduler begins another run for it.

    Args:
        store: of the home.
        cause: the start as the run's record has it: the schedule's name, the cause and the moment.
        why: the run could not begin.
        now: seconds since the epoch.
    """
    name, kind, moment = cause.split(" ")

    def owed(state: ScheduleState) -> ScheduleState:
        return _again(state, kind, datetime.fromisoformat(moment).timestamp(), why, now)

    update(store, name, owed)


def _again(state: ScheduleState, kind: str, moment: float, why: str, now: float) -> ScheduleState:
    tries = [
        entry
        for entry in state.recent
        if entry.outcome == "started" and entry.cause == kind and abs(entry.moment - moment) < SAME_S
    ]
    if len(tries) >= MOST_TRIES:
        timezone = (state.experiment.get("schedule") or {}).get("timezone", "UTC")
        return missed(state, timezone, [moment], tries[-1].cause, "failed", why)
    start = Start.model_validate(
        {
            "id": f"{kind} {moment:.3f} again {now:.3f}",
            "cause": kind,
            "moment": moment,
            "at": now,
            "queued": True,
        }
    )
    return state.model_copy(update={"owed": (start, *state.owed)})
