"""Begins what a schedule has due, in a process of its own: `python -m tidegate.pipelines.commands.schedules.start`.

It takes the way of `tidegate submit --detach`. The run's id is written down before the run is begun, and the run's
record names the start that it is, so that whoever comes after a kill knows what was done.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tidegate.infra.errors import InfraError, LockedError
from tidegate.infra.system.locks import lock
from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.commands.schedules import cluster_start
from tidegate.pipelines.commands.schedules.late import end_late
from tidegate.pipelines.commands.submit import begin_detached, go_on_detached
from tidegate.pipelines.commands.wait import wait_for_end
from tidegate.pipelines.errors import PipelineError, error_message
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.planning.tags import with_tags
from tidegate.pipelines.scheduling.document import Entry, Outcome, ScheduleState, Start, find, update
from tidegate.pipelines.scheduling.homes import home_of
from tidegate.pipelines.scheduling.times import MOST_TRIES, missed
from tidegate.pipelines.state.home import Home, home_at
from tidegate.pipelines.state.mirror import known_run
from tidegate.serving.errors import ServingError


def begin_due(home: Home, name: str) -> str:
    """Begin the start that is `begun` in a schedule's document.

    Returns:
        The run, whose driver is a process of its own; "" where there was nothing to do, or it could not be begun.

    Raises:
        InfraError: something that may be better at the next try, such as a store that is out of reach.
    """
    with suppress(LockedError), lock(home.path / "schedules" / f"{name}.lock", timeout=0):
        state = find(home.store, name)
        if state is None or state.begun is None:
            return ""
        start, home = _counted(home, name, state.begun), home_of(home, state)
        if start is None:
            return ""
        try:
            if start.tries > MOST_TRIES:
                raise PipelineError(f"{MOST_TRIES} processes that were to start it ended before it had begun")
            return _begin(home, state, start)
        except (PipelineError, ModelsError, ServingError, OSError) as error:
            _end(home, name, start, "failed", "", error_message(error))
        except InfraError as error:
            if start.tries < MOST_TRIES:
                raise
            _end(home, name, start, "failed", "", error_message(error))
    return ""


class InThisProcess:
    """Begins each start in this process, and waits until its run has ended: for a `FakeClock`, which does not wait.

    Args:
        home: the home.
        wait: whether to wait; it may be changed at any time.
    """

    def __init__(self, home: Home, *, wait: bool = True) -> None:
        self._home, self.wait = home, wait

    def start(self, name: str, start: Start) -> None:
        """Begin it; a try that may be better later is left to the next call."""
        del start
        with suppress(InfraError):
            run = begin_due(self._home, name)
            if run and self.wait:
                wait_for_end(self._home, self._home.folder_of(run), math.inf)

    def end(self, run: str) -> None:
        """End it."""
        end_late(self._home, run)


def _begin(home: Home, state: ScheduleState, start: Start) -> str:
    cause = f"{state.name} {start.cause} {datetime.fromtimestamp(start.moment, UTC).isoformat()}"
    if state.cluster is not None:
        return _begin_on_cluster(home, state, start, cause)
    if _was_begun(home, start, cause):
        begun = True
        go_on_detached(home, home.folder_of(start.run))
    else:
        experiment = validate(state.experiment, f"schedule {state.name}")
        check(experiment, home)
        plan = make_plan(experiment, with_tags(gather(experiment, home)))
        named = _changed(home, state.name, start, lambda known: known.model_copy(update={"run": plan.run}))
        if named is None:  # deleted meanwhile
            return ""
        start = named
        begun = begin_detached(home, plan, cause)
    _end(home, state.name, start, "started" if begun else "unchanged", start.run)
    return start.run


def _begin_on_cluster(home: Home, state: ScheduleState, start: Start, cause: str) -> str:
    """The same, where another scheduler may be about to do it too: what the first one has written counts."""
    if not start.run:
        plan = cluster_start.planned(home, state)
        if not cluster_start.may_begin(home, plan.run, cause):
            _end(home, state.name, start, "unchanged", plan.run)
            return plan.run
        cluster_start.keep_plan(home, plan)
        first = _changed(
            home, state.name, start, lambda known: known.model_copy(update={"run": known.run or plan.run})
        )
        if first is None:
            return ""
        start = first
    outcome = cluster_start.begin_kept(home, start.run, cause)
    if outcome is None:
        print(
            f"schedule {state.name}: the driver before of run {start.run} still ends; trying again",
            flush=True,
        )
        _changed(home, state.name, start, lambda known: known.model_copy(update={"tries": known.tries - 1}))
        return ""
    _end(home, state.name, start, outcome, start.run)
    return start.run


def _was_begun(home: Home, start: Start, cause: str) -> bool:
    """Whether a process before this one, which was killed, has made this very run."""
    known = known_run(home, start.run) if start.run else None
    return known is not None and known.cause == cause


def _counted(home: Home, name: str, start: Start) -> Start | None:
    """The start, with this try of it: a process that is killed each time must not be begun for ever."""
    return _changed(home, name, start, lambda known: known.model_copy(update={"tries": known.tries + 1}))


def _changed(home: Home, name: str, start: Start, change: Callable[[Start], Start]) -> Start | None:
    """Change the start in the document, as it is there; None where the schedule does not wait for it any more."""

    def changed(state: ScheduleState) -> ScheduleState:
        if state.begun is None or not _is(state, start):
            return state
        return state.model_copy(update={"begun": change(state.begun)})

    state = update(home.store, name, changed)
    return state.begun if state is not None and _is(state, start) else None


def _is(state: ScheduleState, start: Start) -> bool:
    """Whether the schedule still waits for this very start: it may have been set anew meanwhile."""
    return state.begun is not None and state.begun.id == start.id


def _end(home: Home, name: str, start: Start, outcome: Outcome, run: str, reason: str = "") -> None:
    """Write down what became of a start."""

    def ended(state: ScheduleState) -> ScheduleState:
        if state.begun is None or not _is(state, start):
            return state
        if outcome == "failed" and state.begun.run != start.run:
            return state  # another scheduler of the cluster is further with it
        state = state.model_copy(update={"begun": None, "last_run": run or state.last_run})
        if outcome == "failed":
            timezone = (state.experiment.get("schedule") or {}).get("timezone", "UTC")
            return missed(state, timezone, [start.moment], start.cause, outcome, reason)
        return state.with_entry(Entry(cause=start.cause, moment=start.moment, outcome=outcome, run=run))

    update(home.store, name, ended)
    print(f"schedule {name}: {start.id}: {outcome} {run}{reason}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Begin what is due.

    Args:
        argv: `--home DIR --name NAME`, and `--pod` in a pod of a cluster; default: the arguments of the process.
    """
    parser = argparse.ArgumentParser(prog="tidegate.pipelines.commands.schedules.start", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--pod", action="store_true")
    given = parser.parse_args(argv)
    try:
        begin_due(home_at(given.home, pod=given.pod), given.name)
    except InfraError as error:
        print(f"schedule {given.name}: {error_message(error)}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
