"""Begins what a schedule has due, in a process of its own: `python -m tidegate.pipelines.commands.schedules.start`.

It takes the way of `tidegate submit --detach`. The run's id is written down before the run is begun, and the run's
record names the start that it is, so that whoever comes after a kill knows what was done.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tidegate.infra.cluster.jobs import driver_name
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
from tidegate.pipelines.scheduling.times import MOST_TRIES, PATIENCE_S, missed
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
        start = _counted(home, name, state.begun)
        if start is not None:
            return _Attempt(home_of(home, state), state, start).begin()
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


class _Attempt:
    """One try to begin a start; it is told whether it can be given up.

    Args:
        home: of the schedule.
        state: the schedule.
        start: its start, with this try counted.
    """

    def __init__(self, home: Home, state: ScheduleState, start: Start) -> None:
        self._home, self._state, self._start = home, state, start
        moment = datetime.fromtimestamp(start.moment, UTC).isoformat()
        self._cause = f"{state.name} {start.cause} {moment}"

    def begin(self) -> str:
        """Begin it, or write down why not; see `begin_due`."""
        tries = self._start.tries
        try:
            if tries > MOST_TRIES and self._is_late():
                raise PipelineError(f"{tries - 1} processes that were to start it ended before it had begun")
            return self._begin() if self._state.cluster is None else self._begin_on_cluster()
        except (PipelineError, ModelsError, ServingError, OSError) as error:
            self._end("failed", "", error_message(error))
        except InfraError as error:
            if tries < MOST_TRIES or not self._is_late():
                raise
            self._end("failed", "", error_message(error))
        return ""

    def _is_late(self) -> bool:
        """Whether there were tries for long enough: on a cluster its API server, or the store, may be away."""
        return self._state.cluster is None or time.time() - self._start.since >= PATIENCE_S

    def _begin(self) -> str:
        home, state = self._home, self._state
        if _was_begun(home, self._start, self._cause):
            begun = True
            go_on_detached(home, home.folder_of(self._start.run))
        else:
            experiment = validate(state.experiment, f"schedule {state.name}")
            check(experiment, home)
            plan = make_plan(experiment, with_tags(gather(experiment, home)))
            if not self._change(lambda known: known.model_copy(update={"run": plan.run})):
                return ""  # deleted meanwhile
            begun = begin_detached(home, plan, self._cause)
        return self._end("started" if begun else "unchanged", self._start.run)

    def _begin_on_cluster(self) -> str:
        """The same, where another scheduler may be about to do it too: what the first one has written counts."""
        home = self._home
        if not self._start.run:
            plan = cluster_start.planned(home, self._state)
            if not cluster_start.may_begin(home, plan.run, self._cause):
                return self._end("unchanged", plan.run)
            cluster_start.keep_plan(home, plan)
            if not self._change(lambda known: known.model_copy(update={"run": known.run or plan.run})):
                return ""
        run = self._start.run
        outcome = cluster_start.begin_kept(home, run, self._cause)
        if outcome is not None:
            return self._end(outcome, run)
        why = f"run {run} has ended, and its driver has not"
        if self._is_late():
            raise PipelineError(f"{why}; see `kubectl get job {driver_name(run)}`")
        print(f"schedule {self._state.name}: {why}; trying again", flush=True)
        self._change(lambda known: known.model_copy(update={"tries": known.tries - 1}))
        return ""

    def _change(self, change: Callable[[Start], Start]) -> bool:
        """Change the start in the document and here; False where the schedule does not wait for it any more."""
        changed = _changed(self._home, self._state.name, self._start, change)
        self._start = changed or self._start
        return changed is not None

    def _end(self, outcome: Outcome, run: str, reason: str = "") -> str:
        _end(self._home, self._state.name, self._start, outcome, run, reason)
        return run


def _was_begun(home: Home, start: Start, cause: str) -> bool:
    """Whether a process before this one, which was killed, has made this very run."""
    known = known_run(home, start.run) if start.run else None
    return known is not None and known.cause == cause


def _counted(home: Home, name: str, start: Start) -> Start | None:
    """The start, with this try of it: a process that is killed each time must not be begun for ever."""

    def counted(known: Start) -> Start:
        return known.model_copy(update={"tries": known.tries + 1, "since": known.since or time.time()})

    return _changed(home, name, start, counted)


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
