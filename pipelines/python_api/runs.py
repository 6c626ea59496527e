"""Runs: found, waited for, stopped and gone on with."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

from tidegate.infra.system.files import read_json
from tidegate.pipelines.commands.inspect import logs
from tidegate.pipelines.commands.removal import delete
from tidegate.pipelines.commands.runs.approval import approve, refuse
from tidegate.pipelines.commands.runs.listing import runs as list_runs
from tidegate.pipelines.commands.runs.summary import run_result
from tidegate.pipelines.commands.submit import cancel, resume
from tidegate.pipelines.commands.wait import wait_for_end
from tidegate.pipelines.python_api import notebook
from tidegate.pipelines.python_api.endpoints import Endpoint
from tidegate.pipelines.python_api.errors import (
    GateRefusedError,
    RunCancelledError,
    StepFailedError,
    StillRunningError,
    TidegateError,
    UsageError,
    public,
)
from tidegate.pipelines.python_api.results import RunResult, RunRow, StepState, Trial
from tidegate.pipelines.state.ages import age_in_seconds
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home, RunRecord, Status, mlflow_of, open_home
from tidegate.pipelines.state.mirror import refresh

Folder: TypeAlias = str | Path | None


class Run:
    """A run of an experiment; every attribute is read anew.

    Attributes:
        id: the run's id.
    """

    def __init__(self, home: Home, run: str) -> None:
        self._home = home
        self.id = run

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._record().name

    @property
    def experiment(self) -> dict[str, Any]:
        """The experiment with all its keys."""
        return self._record().experiment

    @property
    def status(self) -> Status:
        """Where it is: queued, running, waiting (for an approval), done, failed, refused or cancelled."""
        return self._record().status

    @property
    def result(self) -> RunResult:
        """What `tidegate submit --json` prints, as of now."""
        return self._result()

    @property
    def metrics(self) -> dict[str, float]:
        """The winner's metrics, such as `test_accuracy`; {} until the trials were ranked."""
        return self.result.metrics

    @property
    def trials(self) -> list[Trial]:
        """The trials, in their order."""
        return self.result.trials

    @property
    def steps(self) -> list[StepState]:
        """The steps that have begun."""
        return self.result.steps

    @property
    def mlflow_url(self) -> str | None:
        """The run's page in MLflow; None while MLflow does not know it or does not run."""
        return self.result.mlflow_url

    @property
    def endpoint(self) -> Endpoint | None:
        """The experiment's endpoint; None while nothing is live there."""
        return self._endpoint()

    @public
    def wait(self, timeout: float | str | None = None) -> Self:
        """Wait until it has ended well; a notebook shows its progress meanwhile. Ctrl-C ends the waiting only.

        Args:
            timeout: seconds, or a time such as "10m"; None: for ever.

        Returns:
            The run itself.

        Raises:
            StepFailedError, GateRefusedError, RunCancelledError: it did not end well; `data` is its result.
            StillRunningError: it still runs after the timeout.
        """
        deadline = time.monotonic() + _seconds(timeout)
        with mlflow_of(self._home), notebook.watching(self._home, self.id) as show:
            refresh(self._home, self.id)
            if not wait_for_end(self._home, self._home.run_folder(self.id), deadline, show):
                raise StillRunningError(f"run {self.id} is still {self.status} after {timeout}; it continues")
        error = self._error(self._result())
        if error is not None:
            raise error
        return self

    @public
    def logs(self, step: str | None = None, *, follow: bool = False) -> str:
        """What the steps printed.

        Args:
            step: a step's id or its start, such as "train"; None: all steps.
            follow: print it as it comes until the run ends.
        """
        with mlflow_of(self._home):
            return str(logs(self._home, self.id, step, follow=follow, quiet=not follow).data["log"])

    @public
    def cancel(self) -> Self:
        """Stop it and all that it started; finished steps stay. Raises UsageError: it does not run."""
        with mlflow_of(self._home):
            cancel(self._home, self.id)
        return self

    @public
    def approve(self, reason: str = "") -> Self:
        """Approve what it would release; it goes on in the background. Raises UsageError: it does not wait."""
        with mlflow_of(self._home):
            approve(self._home, self.id, message=reason, detach=True)
        return self

    @public
    def refuse(self, reason: str = "") -> Self:
        """Refuse what it would release, so that it ends. Raises UsageError: it does not wait."""
        with mlflow_of(self._home):
            refuse(self._home, self.id, message=reason, detach=True)
        return self

    @public
    def resume(self) -> Self:
        """Continue it in the background after its last finished step; raises UsageError if it would be another run."""
        with mlflow_of(self._home):
            resume(self._home, self.id, detach=True)
        return self

    @public
    def delete(self) -> None:
        """Remove it with all that only it needs; raises UsageError where a release needs it."""
        with mlflow_of(self._home):
            delete(self._home, self.id)

    @public
    def _record(self) -> RunRecord:
        refresh(self._home, self.id)
        return self._home.run_folder(self.id).read()

    @public
    def _result(self) -> RunResult:
        with mlflow_of(self._home):
            refresh(self._home, self.id, "spool/*")
            return RunResult.of(run_result(self._home, self._home.run_folder(self.id)))

    @public
    def _endpoint(self) -> Endpoint | None:
        name = self._record().endpoint
        live = [state.name for state in known_endpoints(self._home)]
        return Endpoint(self._home, name) if name in live else None

    def _error(self, result: RunResult) -> TidegateError | None:
        """What `wait` raises for a run that did not end well."""
        text, data = f"run {self.id}: {result.reason}", result.to_dict()
        if result.status == "refused":
            return GateRefusedError(text, data)
        if result.status == "cancelled":
            return RunCancelledError(text, data)
        if result.status != "failed":
            return None
        step = next((step.id for step in result.steps if step.status == "failed"), "")
        told = read_json(self._home.run_folder(self.id).error(step)) if step else None
        return StepFailedError(text, data, (told or {}).get("trace", ""), step)

    def __repr__(self) -> str:
        return f"<tidegate.Run {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and (self.id, self._home.path) == (other.id, other._home.path)

    def __hash__(self) -> int:
        return hash((self.id, self._home.path))

    def _repr_html_(self) -> str:
        return notebook.run_html(self.result)


def _seconds(timeout: float | str | None) -> float:
    if timeout is None:
        return math.inf
    seconds = age_in_seconds(timeout) if isinstance(timeout, str) else float(timeout)
    if seconds is None:
        raise UsageError(f'timeout is "{timeout}"; expected seconds, or a time such as 30s, 10m or 2h')
    return seconds


class Runs(list[Run]):
    """A list of runs, which a notebook shows as a table; `rows`: what `tidegate runs --json` prints."""

    def __init__(self, home: Home, rows: Sequence[RunRow]) -> None:
        super().__init__(Run(home, row.run) for row in rows)
        self.rows = list(rows)

    def _repr_html_(self) -> str:
        return notebook.runs_html(self.rows)


@public
def runs(
    *,
    status: str | Sequence[str] = (),
    since: str | None = None,
    metric: str | Sequence[str] = (),
    target: str = "local",
    home: Folder = None,
) -> Runs:
    """The runs, newest first.

    Args:
        status: one or several of queued, running, waiting, done, failed, refused and cancelled; all when empty.
        since: an age such as "7d", or a date.
        metric: one or several conditions that all must hold, such as "test_auc>0.8".
        target, home: see `submit`.

    Raises:
        UsageError: a filter cannot be read, or names a metric that no run has.
    """
    with mlflow_of(open_home(home, target)) as place:
        found = list_runs(place, status=_several(status), since=since, metric=_several(metric))
    return Runs(place, [RunRow.model_validate(row) for row in found.data])


def home_of(run: Run) -> Home:
    """Where a run is kept; for the functions of this package."""
    return run._home


def _several(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given


@public
def run(name: str, *, target: str = "local", home: Folder = None) -> Run:
    """A run by its id, or an experiment's newest run by its name.

    Args:
        name: the id, or the experiment's name.
        target, home: see `submit`.

    Raises:
        UnknownNameError: there is none.
    """
    with mlflow_of(open_home(home, target)) as place:
        refresh(place, name)
        return Run(place, place.newest_run(name).run)
