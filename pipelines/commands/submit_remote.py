"""submit, resume, cancel on a cluster: hand the run to a driver there, and follow it from here."""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from tidegate.infra.cluster.jobs import STEP, condition, driver_name, is_finished, run_labels, selector
from tidegate.infra.cluster.pods.diagnosis import Reason
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.commands.runs.summary import run_result
from tidegate.pipelines.driver.job import CANCEL, clean_up
from tidegate.pipelines.driver.kept_plan import PLAN, plan_document
from tidegate.pipelines.driver.notifications import notify_of
from tidegate.pipelines.errors import CancelledError, PipelineError, UsageError
from tidegate.pipelines.executors.following import follow_driver, is_overdue, why_stuck
from tidegate.pipelines.executors.manifests import driver_of
from tidegate.pipelines.history.actors import actor_of
from tidegate.pipelines.hosting import ensure_live
from tidegate.pipelines.planning.cached_steps import is_cached
from tidegate.pipelines.planning.data_source import verify_sources
from tidegate.pipelines.planning.facts import keep_packages, keep_project_of
from tidegate.pipelines.planning.identity import Facts
from tidegate.pipelines.planning.kept_data import keep_source
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.approvals import withdraw
from tidegate.pipelines.state.home import RUNNING, UNDERWAY, Home, RunFolder, RunRecord, StepRecord
from tidegate.pipelines.state.mirror import END, RECORD, Mirror, refresh

POLL_S = 1.0
CANCEL_S = 90.0
OVER = ("done", "refused", "failed", "cancelled")


def submit(home: Home, plan: Plan, record: RunRecord, reason: str, *, detach: bool) -> Result:
    """Leave the plan in the store, start the run's driver, and follow it unless detached.

    Args:
        home: the target's home.
        plan: of the experiment, its paths on this machine.
        record: what the run's record says before it begins.
        reason: why, for the history.
        detach: return at once.

    Raises:
        PipelineError: the run failed or was cancelled; its result is in `data`.
    """
    mirror = Mirror(home, plan.run)
    folder = home.folder_of(plan.run)
    folder.create()
    mirror.pull(RECORD)
    known = folder.read() if (folder.path / RECORD).exists() else None
    if known is not None and _is_finished(home, plan, known):
        return _cached_result(home, folder, plan, known)
    if known is None or known.status not in RUNNING:
        keep_project_of(plan, home)
        mirror.write(PLAN, plan_document(replace(plan, facts=with_data(home, plan))))
        _start(home, mirror, known or record, reason)
    return _underway(home, folder) if detach else follow(home, plan.run)


def _underway(home: Home, folder: RunFolder) -> Result:
    """What a detached submit returns."""
    status = folder.read().status
    where = f"--target {home.target.name}" if home.target else ""
    text = f"run {folder.run} is {status}; follow it with: tidegate logs {folder.run} -f {where}"
    return Result({"run": folder.run, "status": status}, text)


def _is_finished(home: Home, plan: Plan, record: RunRecord) -> bool:
    """Done, synced to MLflow, and with all its results still there."""
    over = record.status == "done" and record.synced
    return over and all(is_cached(plan, step, home.store) for step in plan.steps)


def _cached_result(home: Home, folder: RunFolder, plan: Plan, record: RunRecord) -> Result:
    """The result of a run that is over: it needs no driver."""
    steps = [StepRecord(id=step.id, step=step.step, status="cached", key=step.key) for step in plan.steps]
    folder.write(record.model_copy(update={"steps": steps}))
    Mirror(home, plan.run).pull_all("spool/*")
    ensure_live(home, plan.experiment.endpoint)
    return run_result(home, folder)


def resume(home: Home, run: str, reason: str | None, *, detach: bool) -> Result:
    """Start the driver of a run again, and follow it unless detached; without a reason the run's own stays."""
    refresh(home, run)
    mirror = Mirror(home, run)
    folder = home.run_folder(run)
    if mirror.pull(PLAN) is None:
        raise UsageError(f"run {run} has no plan in the store; submit the experiment again")
    record = folder.read()
    if record.status not in RUNNING:
        _start(home, mirror, record, record.message if reason is None else reason)
    return _underway(home, folder) if detach else follow(home, run)


def cancel(home: Home, run: str) -> Result:
    """Have a run's driver stop everything; if it has no driver any more, do it from here.

    Raises:
        UsageError: it is not running, or does not stop.
    """
    refresh(home, run)
    mirror, folder = Mirror(home, run), home.run_folder(run)
    status = folder.read().status
    if status not in UNDERWAY:
        raise UsageError(f"run {run} is {status}; only a queued, running or waiting one can be cancelled")
    if status == "waiting":
        withdraw(home.store, run)  # a run that goes on asks anew
    mirror.write(CANCEL, b"{}")
    deadline = time.monotonic() + CANCEL_S
    job = home.cluster.get("Job", driver_name(run))
    while job is not None and not is_finished(job) and time.monotonic() < deadline:
        if mirror.pull(END) is not None:
            break
        if why_stuck(home, run) is not None:  # it never started, so it cannot react
            break
        time.sleep(POLL_S)
        job = home.cluster.get("Job", driver_name(run))
    home.cluster.delete("Job", driver_name(run))
    clean_up(home, run)
    _wait_gone(home, run)
    mirror.pull(RECORD)
    if folder.read().status not in OVER or mirror.pull(END) is None:
        ended = folder.read().model_copy(
            update={"status": "cancelled", "reason": "cancelled", "finished": time.time()}
        )
        folder.write(ended)
        mirror.push(RECORD)
    status = folder.read().status
    return Result({"run": run, "status": status}, f"run {run} is {status}")


def _wait_gone(home: Home, run: str) -> None:
    deadline = time.monotonic() + CANCEL_S
    while home.cluster.list("Pod", f"{selector(run_labels(run))},{STEP}"):
        if time.monotonic() > deadline:
            raise UsageError(
                f"run {run}: its pods are still there after {CANCEL_S:g} s; expected none; see `kubectl get pods`"
            )
        time.sleep(0.5)


def with_data(home: Home, plan: Plan) -> Facts:
    """The facts, after the data and the packages of this machine were put where the cluster finds them."""
    paths = plan.experiment.data.paths
    kept = {part: keep_source(home.store, Path(path)) for part, path in paths.items() if "://" not in path}
    facts = keep_packages(plan, home)
    verify_sources(plan.experiment.data, {"": facts.data, **facts.files})  # else a copy may be of other rows
    return replace(facts, source=kept.pop("", None), kept_files=kept)


def _wait_for_driver_before(home: Home, mirror: Mirror) -> bool:
    """Wait until the driver of an attempt before has ended: it writes the record once more at its very end.

    Returns:
        False where another submit of the same was faster, and there is nothing to start.

    Raises:
        UsageError: it does not end.
    """
    folder, deadline, told = home.folder_of(mirror.run), time.monotonic() + CANCEL_S, False
    while (job := home.cluster.get("Job", driver_name(mirror.run))) is not None and not is_finished(job):
        if mirror.pull(RECORD) is not None and folder.read().status in RUNNING:
            return False
        if time.monotonic() > deadline:
            raise UsageError(
                f"run {mirror.run}: the driver of the attempt before still ends; expected none; try again in a minute, "
                f"or see `kubectl get job {driver_name(mirror.run)}`"
            )
        if not told:
            print("the driver of the attempt before still ends; waiting for it", file=sys.stderr)
        told = True
        time.sleep(POLL_S)
    return True


def _start(home: Home, mirror: Mirror, record: RunRecord, reason: str) -> None:
    """Create the driver's Job; a finished Job of an earlier attempt is deleted first."""
    assert home.target is not None
    if not _wait_for_driver_before(home, mirror):
        return
    if mirror.pull(RECORD) is not None:  # as that driver left it
        record = home.folder_of(mirror.run).read()
    for name in (END, CANCEL):
        mirror.delete(name)
    asked = {"by": actor_of(home), "message": reason}
    queued = record.model_copy(update={"status": "queued", "created": time.time(), "reason": "", **asked})
    home.folder_of(mirror.run).write(queued)
    mirror.push(RECORD)
    job = driver_of(home.target, mirror.run, notify_of(record))
    while True:
        try:
            home.cluster.create(job)
            return
        except AlreadyExistsError:
            found = home.cluster.get("Job", driver_name(mirror.run))
        if found and not is_finished(found) and not found["metadata"].get("deletionTimestamp"):
            return  # another submit of the same was faster
        if found:
            home.cluster.delete("Job", driver_name(mirror.run), uid=found["metadata"]["uid"])
        time.sleep(0.3)


def follow(home: Home, run: str) -> Result:
    """Show the driver's log until the run has ended; then return what a local submit returns.

    Ctrl-C stops only the following; the run continues.
    """
    try:
        end = follow_driver(Mirror(home, run), partial(_check_driver, home, run))
    except KeyboardInterrupt:
        where = f"--target {home.target.name}" if home.target else ""
        print(
            f"\nrun {run} continues in the cluster; `tidegate logs {run} -f {where}` follows it again, "
            f"`tidegate cancel {run} {where}` stops it",
            file=sys.stderr,
        )
        raise
    refresh(home, run, "spool/*")
    result = run_result(home, home.run_folder(run))
    if end["exit_code"] == 1:
        error = (CancelledError if end.get("cancelled") else PipelineError)(end["error"])
        error.data, error.trace = result.data, end.get("trace", "")
        raise error
    return result


def _check_driver(home: Home, run: str, before: tuple[Reason, float] | None) -> tuple[Reason, float] | None:
    """Why the driver is silent; a reason that lasts raises the run's error."""
    job = home.cluster.get("Job", driver_name(run))
    if job is None or condition(job, "Failed") is not None:
        reason = why_stuck(home, run)
        why = reason.message if reason else "its Job failed or was deleted"
        raise _failed(home, run, f"the driver of run {run} ended before the run did: {why}")
    reason = why_stuck(home, run)
    if reason is None:
        return None
    if before is None or before[0].kind != reason.kind:
        print(f"the driver waits: {reason.message}", file=sys.stderr)
        return reason, time.monotonic()
    if is_overdue(reason, before[1]):
        home.cluster.delete("Job", driver_name(run))
        raise _failed(home, run, f"the driver of run {run} could not start: {reason.message}")
    return before


def _failed(home: Home, run: str, message: str) -> PipelineError:
    """Record the run's end from here, because its driver no longer can; return the error to raise."""
    mirror, folder = Mirror(home, run), home.folder_of(run)
    mirror.pull(RECORD)
    folder.write(
        folder.read().model_copy(update={"status": "failed", "reason": message, "finished": time.time()})
    )
    mirror.push(RECORD)
    error = PipelineError(f"{message}; `tidegate resume {run}` continues it")
    error.data = run_result(home, folder).data
    return error
