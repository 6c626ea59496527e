"""The document of a schedule: what it starts, what is owed, and what became of what was.

It is changed as a whole, by compare-and-swap. So whatever is killed, and whoever changes it at the same time, each
moment is dealt with once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.store import Store
from tidegate.pipelines.errors import PipelineError, UnknownNameError
from tidegate.pipelines.state import documents

KEYS = "schedules/"
RECENT = 50  # entries that are kept
Cause = Literal["cron", "catch_up", "new_data", "drift", "model", "hand"]
Outcome = Literal["started", "unchanged", "missed", "skipped", "failed"]


class Start(BaseModel):
    """A start that is owed.

    Attributes:
        id: unique in the schedule: its cause and its moment.
        moment: when it was due; seconds since the epoch.
        at: when it may begin: the moment and its jitter.
        queued: it waits for the end of the run before.
        run: the run that it is; "" until that is known.
        tries: how often a process was begun that was to start it.
        since: when the first of them began; seconds since the epoch, 0: none has.
    """

    model_config = ConfigDict(frozen=True)
    id: str
    cause: Cause
    moment: float
    at: float
    queued: bool = False
    run: str = ""
    tries: int = 0
    since: float = 0.0


class Entry(BaseModel):
    """What became of a start: `count` moments, the last of them at `moment`."""

    model_config = ConfigDict(frozen=True)
    cause: Cause
    moment: float
    outcome: Outcome
    run: str = ""
    reason: str = ""
    count: int = 1


class Looks(BaseModel):
    """What the triggers saw.

    Attributes:
        stamp: of the data's files, as it is now; "" before the first look.
        since: when it became that; seconds since the epoch.
        used: the stamp of the data that was last started for.
        drifting: since when the drift has been large; None: it is not.
        drifted: the release whose drift was last started for.
        releases: by endpoint, the release that was last seen.
        problem: why the data cannot be looked at.
    """

    model_config = ConfigDict(frozen=True)
    stamp: str = ""
    since: float = 0.0
    used: str = ""
    drifting: float | None = None
    drifted: str = ""
    releases: dict[str, str] = {}
    problem: str = ""


class Told(BaseModel):
    """What is to be told to those whom the experiment names: an event, its moment, and facts about it."""

    model_config = ConfigDict(frozen=True)
    event: Literal["schedule_missed", "drift"]
    moment: float
    title: str
    facts: dict[str, Any] = {}


class ClusterPart(BaseModel):
    """What the scheduler of a cluster needs of the machine on which a schedule was set, which may be off.

    Attributes:
        target: as targets.yaml has it there, as JSON.
        tag: of the images that have the code which the facts are of.
        facts: of the plan that was made there, with copies of its files in the store.
    """

    model_config = ConfigDict(frozen=True)
    target: str
    tag: str
    facts: dict[str, Any]


class ScheduleState(BaseModel):
    """All of a schedule.

    Attributes:
        name: the experiment's.
        experiment: with its paths absolute.
        cluster: where its runs are those of a cluster; None: of this machine.
        handled: moments up to this one have been dealt with; seconds since the epoch.
        owed: starts that have not begun, in their order.
        begun: the start that a process is working on.
        last_run: the run that was started last.
        recent: what became of starts, the newest last.
        counts: how many moments had which outcome.
        outbox: what is to be told; it leaves when it is in the store's list of messages.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    experiment: dict[str, Any]
    cluster: ClusterPart | None = None
    created: float
    handled: float
    paused: bool = False
    owed: tuple[Start, ...] = ()
    begun: Start | None = None
    last_run: str = ""
    recent: tuple[Entry, ...] = ()
    counts: dict[Outcome, int] = {}
    looks: Looks = Looks()
    outbox: tuple[Told, ...] = ()

    def with_entry(self, entry: Entry) -> "ScheduleState":
        """The same, with what became of a start."""
        counts = {**self.counts, entry.outcome: self.counts.get(entry.outcome, 0) + entry.count}
        return self.model_copy(update={"recent": (*self.recent, entry)[-RECENT:], "counts": counts})


def delete(store: Store, name: str) -> None:
    """Delete a schedule, whoever wrote it; raises UnknownNameError."""
    known = names(store)
    if name not in known:
        raise unknown(name, known)
    store.delete(_key(name))


def unknown(name: str, known: list[str]) -> UnknownNameError:
    """The error for a schedule that is not there, with the nearest known name."""
    fix = "`tidegate schedule list` lists them, `tidegate submit FILE --schedule` sets one"
    return UnknownNameError("schedule", name, known, fix)


def names(store: Store) -> list[str]:
    """The names of all schedules, sorted."""
    return [key.removeprefix(KEYS).removesuffix(".json") for key in store.keys(KEYS)]


def find(store: Store, name: str) -> ScheduleState | None:
    """A schedule, or None.

    Raises:
        PipelineError: another version of Tidegate wrote it.
    """
    found = store.read(_key(name))
    return None if found is None else _parsed(name, found[0])


def require(store: Store, name: str) -> ScheduleState:
    """A schedule; raises UnknownNameError, with the nearest known name."""
    found = find(store, name)
    if found is None:
        raise unknown(name, names(store))
    return found


def change(
    store: Store, name: str, changed: Callable[[ScheduleState | None], ScheduleState | None]
) -> ScheduleState | None:
    """Change a schedule, and again when somebody else was faster.

    Args:
        store: of the home.
        name: the schedule's.
        changed: a pure function; None stands for no schedule. It may be called several times.

    Returns:
        What stands there now.
    """
    return documents.change(store, _key(name), partial(_parsed, name), changed, f"schedule {name}")


def update(
    store: Store, name: str, changed: Callable[[ScheduleState], ScheduleState]
) -> ScheduleState | None:
    """The same for a schedule that is there; one that was deleted meanwhile stays so."""
    return change(store, name, lambda state: None if state is None else changed(state))


def _parsed(name: str, content: bytes) -> ScheduleState:
    try:
        return ScheduleState.model_validate_json(content)
    except ValidationError as error:
        raise PipelineError(
            f"schedule {name} was written by another version of Tidegate ({error.error_count()} values are not known); "
            f"expected this one's; delete it with `tidegate schedule delete {name}`, and set it again"
        ) from error


def _key(name: str) -> str:
    return f"{KEYS}{name}.json"
