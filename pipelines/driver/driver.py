"""The driver of a run: one process at a time, from the first step to the last word to MLflow."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.infra.errors import InfraError, LockedError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.store import Store
from tidegate.infra.system import processes
from tidegate.infra.system.locks import lock
from tidegate.pipelines.driver.mlflow_run import RunLog
from tidegate.pipelines.driver.progress import Progress
from tidegate.pipelines.driver.scheduler import is_cached, run_plan
from tidegate.pipelines.errors import CancelledError, PipelineError, RefusedError, StepError, error_message
from tidegate.pipelines.executors.base import Executor
from tidegate.pipelines.hosting import abandon
from tidegate.pipelines.planning.facts import with_champion
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.home import Home, RunFolder, Status, StepRecord

SYNC_S = 100.0  # a little more than the sync's own patience, with MLflow's start and one request that hangs
FAILED_SYNC_S = 4.0  # who waits for an error waits no longer than this; a process in the background goes on
MOST_PLANS = 3  # another run may be promoted between the gate and the promotion
REASON = 2000


class Driver:
    """Drives one run; made by `sole`."""

    def __init__(self, home: Home, folder: RunFolder, stays: bool = True) -> None:
        """Take over the run's record.

        Args:
            home: where state is kept.
            folder: the run's.
            stays: a signal cancels the run; otherwise another driver goes on when this one is ended.
        """
        self._stays = stays
        self._home = home
        self._folder = folder
        self._progress = Progress(folder)
        self._record = folder.read()
        self._log: RunLog | None = None
        self._cancelled = False

    @staticmethod
    @contextlib.contextmanager
    def sole(home: Home, folder: RunFolder, stays: bool = True) -> Iterator["Driver"]:
        """The run's only driver; where there is one, wait for it: what it finishes is not done again."""
        try:
            with lock(folder.lock, timeout=0):
                yield Driver(home, folder, stays)
        except LockedError:
            print(f"run {folder.run} is being driven by another submit; waiting for it", file=sys.stderr)
            with lock(folder.lock):
                yield Driver(home, folder, stays)

    def run(self, plan: Plan, executor: Executor) -> None:
        """Drive the plan to its end, and MLflow with it.

        Raises:
            StepError, CancelledError: after everything was told and cleaned up.
        """
        with self._signals():
            if not self._is_finished(plan):
                with self._sync():
                    self._run(plan, executor)

    def _run(self, plan: Plan, executor: Executor) -> None:
        try:
            self._begin(plan)
            self._drive(plan, executor)
            self._end("done")
        except RefusedError as error:
            self._end("refused", str(error))
        except CancelledError as error:
            abandon(self._home, plan.run, plan.experiment.endpoint)
            self._end("cancelled", str(error))
            raise
        except Exception as error:
            abandon(self._home, plan.run, plan.experiment.endpoint)
            self._end("failed", error_message(error))
            raise

    def _is_finished(self, plan: Plan) -> bool:
        """Done, known to MLflow, and nothing of it lost: only the steps' status changes."""
        store = self._home.store
        over = (
            self._record.status == "done"
            and self._record.synced
            and not mlflow_server.database_lost(self._home.path)
        )
        if over and all(is_cached(plan, step, store) for step in plan.steps):
            steps = [
                StepRecord(id=step.id, step=step.step, status="cached", key=step.key) for step in plan.steps
            ]
            self._keep(steps=steps)
            return True
        return False

    def _begin(self, plan: Plan) -> None:
        self._keep(
            status="running", reason="", finished=None, synced=False, champion=plan.facts.champion, steps=[]
        )
        self._progress.say(f"run {plan.run}: {len(plan.steps)} steps")
        _keep_snapshot(plan, self._home.store)
        self._log = RunLog(self._home, plan)
        self._log.resumed()

    def _drive(self, plan: Plan, executor: Executor) -> None:
        for attempt in range(MOST_PLANS):
            try:
                run_plan(plan, executor, self._home.store, self._folder, self)
                return
            except StepError as error:
                if error.kind != "ChampionChangedError" or attempt == MOST_PLANS - 1:
                    raise
                self._progress.say(f"{error.message}; comparing again")
                abandon(self._home, plan.run, plan.experiment.endpoint)
                plan = make_plan(plan.experiment, with_champion(plan.facts, plan.experiment, self._home))
                self._keep(champion=plan.facts.champion, steps=[])

    def step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        """A step changed: note it, show it, tell MLflow; a refusal of the gate ends the run here."""
        others = [known for known in self._record.steps if known.id != record.id]
        self._keep(steps=[*others, record])
        self._progress.step(record, _detail(record, outputs))
        if outputs is None or "error" in outputs or self._log is None:
            return
        self._log.step(record.step, outputs)
        if record.step == "select" and outputs["refused"]:
            raise RefusedError("; ".join(outputs["refused"]))

    def news(self, step_id: str, words: str) -> None:
        """A step waits, or began anew: say why."""
        self._progress.say(f"{step_id:<24} {words}")

    def cancel(self) -> None:
        """Have the run cancelled at the next tick."""
        self._cancelled = True

    def retry(self, step_id: str, signal: int) -> None:
        """A step's process was killed: say so."""
        self._progress.say(f"{step_id:<24} was killed by signal {signal}; it starts again")

    def tick(self) -> None:
        """Show progress; stop when told to."""
        self._progress.tick()
        if self._cancelled:
            raise CancelledError(f"cancelled; `tidegate resume {self._folder.run}` goes on")

    def _keep(self, **changes: Any) -> None:
        self._record = self._record.model_copy(update=changes)
        self._folder.write(self._record)

    def _end(self, status: Status, reason: str = "") -> None:
        self._keep(status=status, reason=reason[:REASON], finished=time.time())
        if self._log is not None:
            self._log.end(status, reason[:REASON])

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM cancel the run in good order."""

        if not self._stays:
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: self.cancel()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _sync(self) -> Iterator[None]:
        """Have MLflow told in the background; wait for the rest at the end, for a bounded time."""
        argv = [
            sys.executable,
            "-P",
            "-m",
            "tidegate.pipelines.driver.mlflow_sync",
            "--home",
            str(self._home.path),
            "--run",
            self._folder.run,
        ]
        with self._folder.log("sync").open("ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield
        finally:
            # Still "running": not even the failure could be noted, as on a full disk.
            failed = self._record.status in ("failed", "running")
            self._keep(synced=_finished(process, FAILED_SYNC_S if failed else SYNC_S))
            if failed and not self._record.synced:
                name = f"sync-{self._folder.run}"
                log_file = self._folder.log("sync")
                with contextlib.suppress(InfraError):
                    processes.start(self._home.processes, name, argv, log=log_file, cwd=self._home.path)
            elif not self._record.synced:
                self._progress.say(
                    f"trained, not synced: MLflow did not take everything; `tidegate resume {self._folder.run}` "
                    f"syncs it later; see {self._folder.log('sync')}"
                )


def _finished(process: "subprocess.Popen[bytes]", patience_s: float) -> bool:
    """Tell the sync that the run has ended; whether it got everything across."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.write(b"\n")
        process.stdin.flush()
    try:
        return process.wait(patience_s) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    finally:
        with contextlib.suppress(
            OSError
        ):  # it ended before: what is still in the pipe's buffer is lost with it
            process.stdin.close()


def _keep_snapshot(plan: Plan, store: Store) -> None:
    """The user's model file as it is now; steps use this copy, whatever happens to the file.

    Raises:
        PipelineError: it was changed between planning and now.
    """
    snapshot = plan.facts.snapshot
    if snapshot is None or store.has(snapshot):
        return
    path = Path(plan.experiment.model.file or "")
    if store.put(path, snapshot.name).digest != snapshot.digest:
        raise PipelineError(f"{path} was changed while the run was being planned; submit again")


def _detail(record: StepRecord, outputs: dict[str, Any] | None) -> str:
    """The few words of a finished step that people look for."""
    if outputs is None:
        return ""
    if "error" in outputs:
        return str(outputs["error"]) if record.step == "train" else ""  # others end the run, which says why
    if record.step == "prepare":
        dropped = outputs["summary"]["dropped_rows"]
        return f"{dropped} rows without a target were dropped" if dropped else ""
    if record.step == "train":
        shown = {key: value for key, value in outputs["metrics"].items() if key.startswith("test_")}
        words = [f"{key}={value:.4g}" for key, value in list(shown.items())[:2]]
        words += [f"{key.rpartition('.')[2]}={value}" for key, value in outputs["params"].items()]
        return " ".join(words) + (" pruned" if outputs["pruned"] else "")
    if record.step == "package":
        return f"{outputs['runtime']}, parity {outputs['parity']:.2g}, bento {outputs['bento']}"
    if record.step in ("deploy", "promote"):
        return f"release {outputs['release']}"
    return ""
