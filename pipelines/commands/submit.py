"""submit, resume, cancel: start and stop the driver of a run, and return the run's result when it ends."""

import contextlib
import os
import signal
import sys
import time

from tidegate.infra.errors import TrackingError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.system import processes
from tidegate.infra.system.locks import is_held, lock
from tidegate.pipelines.commands import submit_remote as remote
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.commands.runs.decided import ask_anew, refusal, require_not_refused, require_waiting
from tidegate.pipelines.commands.runs.summary import run_result
from tidegate.pipelines.driver.driver import Driver
from tidegate.pipelines.driver.kept_plan import plan_at, read_plan
from tidegate.pipelines.errors import OURS, PipelineError, UsageError, error_message
from tidegate.pipelines.executors import make_executor
from tidegate.pipelines.executors.forking.warm import warm_seconds
from tidegate.pipelines.experiment.load import Overrides, Source, load_experiment, validate
from tidegate.pipelines.history.actors import actor_of
from tidegate.pipelines.history.record import checked_reason, settle_request
from tidegate.pipelines.hosting import ensure_live
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.project.shadowing import left_out_lines
from tidegate.pipelines.planning.tags import with_tags
from tidegate.pipelines.result import Result
from tidegate.pipelines.scheduling.again import owe_again
from tidegate.pipelines.state.home import UNDERWAY, Home, RunFolder, RunRecord
from tidegate.pipelines.state.mirror import known_run

CANCEL_S = 60.0


def submit(
    home: Home,
    file: Source,
    overrides: Overrides,
    *,
    detach: bool,
    executor: str = "local",
    schedule: bool = False,
    message: str | None = None,
) -> Result:
    """Run an experiment up to a live endpoint; finished steps are not repeated.

    Args:
        home: where state is kept.
        file: an experiment, see `load_experiment`.
        overrides: `key=value` strings, or values by dotted key.
        detach: leave the driver in the background and return at once.
        executor: "local" or "inline".
        schedule: run nothing now, but set the experiment's `schedule` and `trigger`.
        message: why, for the history.

    Raises:
        ExperimentError, ModelsError: the experiment is wrong.
        UsageError: $TIDEGATE_WARM is no time, or the message is too long.
        StepError: a step failed.
    """
    reason = checked_reason(message)
    experiment = load_experiment(file, overrides)
    check(experiment, home)
    if schedule or experiment.schedule is not None or experiment.trigger:
        from tidegate.pipelines.commands.schedules.setting import not_set, set_schedule  # most have none

        if schedule and message is not None:
            raise UsageError(
                "submit --schedule: received -m; expected none, as nothing is released now; leave it out"
            )
        if schedule:
            return set_schedule(home, experiment, detach=detach, executor=executor)
        for line in not_set(home, experiment):
            print(line, file=sys.stderr)
    plan = make_plan(experiment, with_tags(gather(experiment, home)))
    for line in left_out_lines(plan.facts.project.left_out if plan.facts.project else {}):
        print(line, file=sys.stderr)
    ask_anew(home, plan.run)
    if home.target is not None:
        return remote.submit(home, plan, new_record(plan), reason, detach=detach)
    warm_seconds()
    folder = _recorded(home, plan)
    if detach:
        return _detach(home, folder, reason)
    return _drive(home, folder, plan, executor, reason)


def resume(
    home: Home,
    run: str,
    *,
    executor: str = "local",
    detach: bool = False,
    message: str | None = None,
    only_waiting: bool = False,
) -> Result:
    """Continue a run: finished steps are kept, and MLflow gets what it missed.

    Args:
        home: where state is kept.
        run: the run's id.
        executor: "local" or "inline".
        detach: leave the driver in the background and return at once.
        message: why, for the history; the run's own when not given.
        only_waiting: only while it waits for an approval; on this machine.

    Raises:
        UsageError: a person refused it; with `only_waiting`, it was cancelled meanwhile; its data or the code has
            changed since, so that it would be another run; or $TIDEGATE_WARM is no time, or the message is too long.
    """
    reason = None if message is None else checked_reason(message)
    require_not_refused(home, run)
    if home.target is not None:
        return remote.resume(home, run, reason, detach=detach)
    warm_seconds()
    folder = home.run_folder(run)
    known = folder.record()
    try:
        plan = plan_again(home, folder)
    except (*OURS, OSError) as error:
        if known.status == "queued" and not detach:
            _never_began(home, folder, error_message(error))
        raise
    reason = known.message if reason is None else reason
    if detach:
        return _detach(home, folder, reason, known.cause, only_waiting)
    return _drive(home, folder, plan, executor, reason, only_waiting)


def _never_began(home: Home, folder: RunFolder, why: str) -> None:
    """What a run reads changed while its driver started: it ends here, and its schedule starts another one."""
    with lock(folder.lock):
        record = folder.record()
        if record.status == "queued":
            ended = {"status": "failed", "finished": time.time(), "reason": f"it never began: {why}"}
            folder.write(record.model_copy(update=ended))
            if record.cause:
                owe_again(home.store, record.cause, why, time.time())


def plan_again(home: Home, folder: RunFolder) -> Plan:
    """The plan of a run that continues: as it was kept while the run waited for an approval, or made of what is there.

    Raises:
        UsageError: it would be another run today.
    """
    if plan_at(folder).exists():
        return read_plan(plan_at(folder).read_bytes(), home)
    run = folder.run
    experiment = validate(folder.read().experiment, str(folder.path / "run.json"))
    plan = make_plan(experiment, with_tags(gather(experiment, home)))
    if plan.run != run:
        raise UsageError(
            f"run {run} cannot be resumed: its data, its model file, this code or a library has changed since, "
            f"and it would be run {plan.run} now; submit the experiment again"
        )
    return plan


def cancel(home: Home, run: str) -> Result:
    """Stop a run and everything it started; finished steps stay.

    Raises:
        UsageError: it is not running.
    """
    if home.target is not None:
        return remote.cancel(home, run)
    folder = home.run_folder(run)
    status = folder.read().status
    if status == "waiting":
        return _cancel_waiting(home, folder)
    if status not in ("running", "queued"):
        raise UsageError(f"run {run} is {status}; only a queued, running or waiting one can be cancelled")
    deadline = time.monotonic() + CANCEL_S
    signalled = False
    while is_held(folder.lock) or status == "queued":
        pid = folder.lock.read_text().strip() if folder.lock.exists() else ""
        if pid and not signalled and is_held(folder.lock):
            os.kill(int(pid), signal.SIGTERM)
            signalled = True
        time.sleep(0.05)
        status = folder.read().status
        if time.monotonic() > deadline:
            raise UsageError(f"run {run} did not stop within {CANCEL_S:g} s; its driver is process {pid}")
    status = folder.read().status
    return Result({"run": run, "status": status}, f"run {run} is {status}")


def _cancel_waiting(home: Home, folder: RunFolder) -> Result:
    """Nothing runs of it: its end is written down here."""
    with Driver.exclusive(home, folder) as driver:
        if folder.read().status == "waiting":  # else it was approved just before
            settle_request(home.store, folder.run)
            driver.give_up(plan_again(home, folder), "cancelled", "cancelled while it waited for an approval")
    status = folder.read().status
    return Result({"run": folder.run, "status": status}, f"run {folder.run} is {status}")


def _recorded(home: Home, plan: Plan, cause: str = "") -> RunFolder:
    """The run's folder, with a record, whether the run is new or not.

    It says from the first moment which start of a schedule it is, so that whoever comes after a kill knows it.
    """
    folder = home.folder_of(plan.run)
    folder.create()
    if not (folder.path / "run.json").exists():
        folder.write(new_record(plan).model_copy(update={"cause": cause}))
    return folder


def new_record(plan: Plan) -> RunRecord:
    """The record of a run that has not begun."""
    return RunRecord(
        run=plan.run,
        name=plan.experiment.name,
        endpoint=plan.experiment.endpoint,
        status="queued",
        created=time.time(),
        commit=plan.facts.tags.get("mlflow.source.git.commit", ""),
        experiment=plan.experiment.model_dump(mode="json"),
    )


def begin_detached(home: Home, plan: Plan, cause: str) -> bool:
    """Leave a run to a driver in the background.

    Args:
        home: the local target's.
        plan: of the run.
        cause: what started it, for its record.

    Returns:
        False where the run is done, underway or waiting, or a person refused it, and there is nothing to begin.
    """
    known = known_run(home, plan.run)
    if known is not None and (known.status in (*UNDERWAY, "done") or refusal(home, known)):
        return False
    _detach(home, _recorded(home, plan, cause), f"the schedule {cause}", cause)
    return True


def go_on_detached(home: Home, folder: RunFolder) -> None:
    """Give a run that was begun a driver in the background, if it has none and has not ended by itself."""
    record = folder.read()
    if record.status == "queued" or (record.status == "failed" and record.finished is None):
        _detach(home, folder, record.message or f"the schedule {record.cause}", record.cause)


def _detach(
    home: Home, folder: RunFolder, reason: str, cause: str = "", only_waiting: bool = False
) -> Result:
    record = folder.read()
    if only_waiting:
        require_waiting(record)
    if record.status not in ("running", "done"):
        queued = {"status": "queued", "created": time.time(), "reason": "", "cause": cause}
        folder.write(record.model_copy(update=queued))
        argv = [
            sys.executable,
            "-P",
            "-m",
            "tidegate.pipelines.cli",
            "resume",
            folder.run,
            "--home",
            str(home.path),
            f"--message={reason}",
        ]
        processes.start(home.processes, f"driver-{folder.run}", argv, log=folder.log("driver"), cwd=home.path)
    status = folder.read().status
    text = f"run {folder.run} is {status}; follow it with: tidegate logs {folder.run} -f"
    return Result({"run": folder.run, "status": status}, text)


def _drive(
    home: Home, folder: RunFolder, plan: Plan, executor: str, reason: str, only_waiting: bool = False
) -> Result:
    with Driver.exclusive(home, folder) as driver:
        if only_waiting:
            require_waiting(folder.read())
        driver.asked(actor_of(home), reason)
        try:
            driver.run(plan, make_executor(executor, home.processes))
        except PipelineError as error:
            error.data = run_result(home, folder).data
            raise
        ensure_live(home, plan.experiment.endpoint)
        # So that the MLflow address in the result works, even after `down`.
        with contextlib.suppress(TrackingError):
            mlflow_server.ensure(home.path)
        return run_result(home, folder)  # before another submit of the same may change the record
