"""What a trigger asks for, from what was seen now and before. Pure."""

from collections.abc import Sequence

from tidegate.pipelines.experiment.automation.schedule import Trigger, age_seconds
from tidegate.pipelines.scheduling.document import Cause, Looks, ScheduleState, Start, Told


def see_data(looks: Looks, trigger: Trigger, stamp: str, now: float) -> tuple[Looks, bool]:
    """Whether new data has come and has stayed as it is for long enough.

    Args:
        looks: what was seen before; data that is seen for the first time is not new.
        trigger: with `new_data`.
        stamp: of the files as they are now.
        now: seconds since the epoch.
    """
    if not looks.stamp:
        return looks.model_copy(update={"stamp": stamp, "since": now, "used": stamp, "problem": ""}), False
    if stamp != looks.stamp or now < looks.since:  # changed just now, or the clock was set back
        return looks.model_copy(update={"stamp": stamp, "since": now, "problem": ""}), False
    if stamp == looks.used or now - looks.since < age_seconds(trigger.new_data):
        return looks.model_copy(update={"problem": ""}), False
    return looks.model_copy(update={"used": stamp, "problem": ""}), True


def see_drift(
    looks: Looks, trigger: Trigger, index: float | None, release: str, now: float
) -> tuple[Looks, bool]:
    """Whether a release's drift is large and has been for long enough; it is told once for a release.

    Args:
        looks: what was seen before.
        trigger: with `drift`.
        index: the largest drift index; None: not known, or there are too few rows yet.
        release: which release it is of.
        now: seconds since the epoch.
    """
    assert trigger.drift is not None
    if index is None or index < trigger.drift:
        over = {"drifting": None} if index is None else {"drifting": None, "drifted": ""}
        return looks.model_copy(update=over), False
    since = now if looks.drifting is None else min(looks.drifting, now)
    looks = looks.model_copy(update={"drifting": since})
    if now - since < trigger.lasting_s or looks.drifted == release:
        return looks, False
    return looks.model_copy(update={"drifted": release}), True


def see_release(looks: Looks, endpoint: str, release: str) -> tuple[Looks, bool]:
    """Whether another endpoint has another live release than before; one that is seen first is not new.

    Args:
        looks: what was seen before.
        endpoint: its name.
        release: the live one; "" where there is none.
    """
    before = looks.releases.get(endpoint)
    if before == release:
        return looks, False
    seen = looks.model_copy(update={"releases": {**looks.releases, endpoint: release}})
    return seen, before is not None and release != ""


def fire(state: ScheduleState, causes: Sequence[Cause], now: float) -> ScheduleState:
    """A schedule whose triggers ask for a run: one is owed for all of them, unless one waits already."""
    waits = any(one.queued or one.cause not in ("cron", "catch_up") for one in state.owed)
    if not causes or waits:
        return state
    start = Start(id=f"{causes[0]} {now:.0f}", cause=causes[0], moment=now, at=now)
    return state.model_copy(update={"owed": (*state.owed, start)})


def tell_drift(state: ScheduleState, endpoint: str, index: float, lasting: str, now: float) -> ScheduleState:
    """The same, with the drift among what is to be told."""
    title = f"requests to endpoint {endpoint} have drifted: {index:.2f}, for {lasting}"
    facts = {"schedule": state.name, "endpoint": endpoint, "drift": round(index, 4), "lasted": lasting}
    told = Told(event="drift", moment=now, title=title, facts=facts)
    return state.model_copy(update={"outbox": (*state.outbox, told)})
