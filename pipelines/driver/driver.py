"""The driver of a run: one process at a time, from the first step to the last event for MLflow."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from psutil import virtual_memory

from tidegate.infra.errors import InfraError, LockedError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.infra.system import processes
from tidegate.infra.system.files import write_atomic
from tidegate.infra.system.locks import lock
from tidegate.pipelines.driver.kept_plan import plan_at, plan_document
from tidegate.pipelines.driver.kept_record import KeptRecord
from tidegate.pipelines.driver.mlflow_run import RunLog
from tidegate.pipelines.driver.mlflow_sync import finished, sync_command
from tidegate.pipelines.driver.notifications import Teller
from tidegate.pipelines.driver.progress import Progress
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.driver.search_notes import search_notes
from tidegate.pipelines.driver.step_texts import against_replay, step_summary, told
from tidegate.pipelines.driver.waiting import NotApprovedError, require_approval
from tidegate.pipelines.errors import CancelledError, RefusedError, StepError, error_message
from tidegate.pipelines.executors.base import Executor, step_environment
from tidegate.pipelines.executors.forking.imports import SYNC
from tidegate.pipelines.executors.forking.process import ForkedProcess
from tidegate.pipelines.executors.forking.servers import ForkServers
from tidegate.pipelines.history.record import record_refused
from tidegate.pipelines.hosting import abandon
from tidegate.pipelines.planning.cached_steps import is_cached
from tidegate.pipelines.planning.facts import keep_project_of, with_champion
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.approvals import mark_told, withdraw
from tidegate.pipelines.state.home import Home, RunFolder, Status, StepRecord
from tidegate.serving.deployment.event import Actor
from tidegate.serving.errors import ServingError

SYNC_S = 100.0  # longer than the sync's own timeout, with MLflow's start and one request that hangs
FAILED_SYNC_S = (
    4.0  # after an error the user waits this long at most; a background process continues the sync
)
MAX_PLANS = 3  # another run may be promoted between the gate and the promotion
MAX_REASON = 2000  # characters


class Driver:
    """Drives one run; created by `exclusive`."""

    def __init__(self, home: Home, folder: RunFolder, cancel_on_signal: bool = True) -> None:
        """Take over the run's record.

        Args:
            home: where state is stored.
            folder: the run's.
            cancel_on_signal: SIGINT and SIGTERM cancel the run; otherwise another driver continues after this one.
        """
        self._cancel_on_signal = cancel_on_signal
        self._home = home
        self._folder = folder
        self._progress = Progress(folder)
        self._record = KeptRecord(folder)
        self._log: RunLog | None = None
        self._plan: Plan | None = None
        self._cancelled = False
        self._syncing: ForkedProcess | None = None
        self._teller = Teller(home, [])
        self._by: dict[str, Any] = {}

    @staticmethod
    @contextlib.contextmanager
    def exclusive(home: Home, folder: RunFolder, cancel_on_signal: bool = True) -> Iterator["Driver"]:
        """Become the run's only driver; first wait for another one, whose finished steps are not repeated."""
        try:
            with lock(folder.lock, timeout=0):
                yield Driver(home, folder, cancel_on_signal)
        except LockedError:
            print(f"run {folder.run} is being driven by another submit; waiting for it", file=sys.stderr)
            with lock(folder.lock):
                yield Driver(home, folder, cancel_on_signal)

    def asked(self, by: Actor, message: str) -> None:
        """Who asks for the run, and why, from when it is driven."""
        self._by = {"by": by, "message": message}

    def run(self, plan: Plan, executor: Executor) -> None:
        """Drive the plan to its end and sync it to MLflow.

        Raises:
            StepError, CancelledError: after everything was recorded and cleaned up.
        """
        with self._signals():
            if not self._is_finished(plan):
                left = (step for step in plan.steps if not is_cached(plan, step, self._home.store))
                executor.expect(left, self._folder.log)
                with self._telling(plan):
                    self._run(plan, executor)

    def give_up(self, plan: Plan, status: Status, reason: str) -> None:
        """End a run that waits for an approval, as cancelled or refused; nothing is asked any more."""
        self._log = RunLog(self._home, plan)
        withdraw(self._home.store, plan.run)
        with self._telling(plan):
            self._end(status, reason)

    @contextlib.contextmanager
    def _telling(self, plan: Plan) -> Iterator[None]:
        """MLflow follows meanwhile; in the end those whom the experiment names are told."""
        self._teller = Teller(self._home, plan.experiment.notify)
        try:
            with self._sync():
                yield
        finally:
            for problem in self._teller.close():
                self._progress.say(f"warning: {problem}")

    def _run(self, plan: Plan, executor: Executor) -> None:
        try:
            self._begin(plan)
            self._drive(plan, executor)
            self._end("done")
        except NotApprovedError as error:
            self._wait(error)
        except RefusedError as error:
            self._abandon(plan)
            problem = record_refused(self._home, self._record.run, error)
            if problem:
                self._progress.say(f"warning: {problem}")
            self._end("refused", str(error))
        except Exception as error:
            self._abandon(plan)
            status: Status = "cancelled" if isinstance(error, CancelledError) else "failed"
            self._end(status, error_message(error))
            raise

    def _abandon(self, plan: Plan) -> None:
        """Give up the release that the run reserved; if that fails, its end is recorded and told all the same."""
        try:
            abandon(self._home, plan.run, plan.experiment.endpoint)
        except (InfraError, ServingError) as error:
            left = f"a release that it reserved of {plan.experiment.endpoint} may be left, with its server"
            self._progress.say(f"warning: {left}: {error}; the next run of this endpoint stops it")

    def _is_finished(self, plan: Plan) -> bool:
        """Whether the run is done, synced and complete; then only the status of its steps is updated."""
        store = self._home.store
        record = self._record.run
        over = record.status == "done" and record.synced and not mlflow_server.database_lost(self._home.path)
        if over and all(is_cached(plan, step, store) for step in plan.steps):
            steps = [
                StepRecord(id=step.id, step=step.step, status="cached", key=step.key) for step in plan.steps
            ]
            self._record.update(steps=steps)
            return True
        return False

    def _begin(self, plan: Plan) -> None:
        fresh: dict[str, Any] = {
            "reason": "",
            "finished": None,
            "asked": None,
            "until": None,
            "synced": False,
        }
        champion = plan.facts.champion
        self._record.update(status="running", **fresh, champion=champion, steps=[], **self._by)
        self._progress.say(f"run {plan.run}: {len(plan.steps)} steps")
        for note in search_notes(plan, self._home.target is None, virtual_memory().available):
            self._progress.say(note)
        keep_project_of(plan, self._home)
        self._log = RunLog(self._home, plan)
        self._log.mark_resumed()

    def _drive(self, plan: Plan, executor: Executor) -> None:
        for attempt in range(MAX_PLANS):
            self._plan = plan
            try:
                run_plan(plan, executor, self._home.store, self._folder, self)
                return
            except StepError as error:
                if error.kind != "ChampionChangedError" or attempt == MAX_PLANS - 1:
                    raise
                self._progress.say(f"{error.message}; comparing again")
                abandon(self._home, plan.run, plan.experiment.endpoint)
                plan = make_plan(plan.experiment, with_champion(plan.facts, plan.experiment, self._home))
                self._record.update(champion=plan.facts.champion, steps=[])

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        """A step changed: record it, show it, log it to MLflow; a refusal by the gate ends the run here."""
        self._record.set_step(record)
        self._progress.show_step(record, step_summary(record, outputs))
        for line in told(record, outputs):
            self._progress.say(line)
        if outputs is None or "error" in outputs or self._log is None:
            return
        self._log.log_step(record.step, outputs)
        self._teller.learn(record.step, outputs)
        if record.step == "select" and outputs["refused"]:
            raise RefusedError("; ".join(outputs["refused"]))
        against = against_replay(record, outputs)
        if against:
            raise RefusedError("; ".join(against))
        if record.step == "package" and self._plan is not None:
            require_approval(self._home, self._plan, record.key)

    def on_notice(self, step_id: str, text: str) -> None:
        """A step waits or restarted: show why."""
        self._progress.say(f"{step_id:<24} {text}")

    def cancel(self) -> None:
        """Cancel the run at the next poll."""
        self._cancelled = True

    def save(self) -> None:
        """Write the run's record as it is now, before this process ends."""
        self._record.write()

    def on_retry(self, step_id: str, signal: int) -> None:
        """A step's process was killed: show it."""
        self._progress.say(f"{step_id:<24} was killed by signal {signal}; it starts again")

    def on_poll(self) -> None:
        """Show progress; stop if the run was cancelled."""
        if self._syncing is not None:
            self._syncing.poll()  # it may have to start a process after all
        self._record.write_if_due()
        self._progress.refresh()
        if self._cancelled:
            raise CancelledError(f"cancelled; `tidegate resume {self._folder.run}` continues it")

    def _wait(self, error: NotApprovedError) -> None:
        """The run waits for people, and this process ends: what goes on later needs the plan as it is now."""
        request = error.request
        if self._home.target is None and self._plan is not None:
            write_atomic(plan_at(self._folder), plan_document(self._plan))
        self._record.update(asked=request.asked, until=request.until)
        self._end("waiting", str(error), tell=not request.told)
        if not request.told:
            mark_told(self._home.store, request)

    def _end(self, status: Status, reason: str = "", *, tell: bool = True) -> None:
        over: dict[str, Any] = (
            {"finished": None} if status == "waiting" else {"finished": time.time(), "until": None}
        )
        self._record.update(status=status, reason=reason[:MAX_REASON], **over)
        if self._log is not None:
            self._log.end(status, reason[:MAX_REASON])
        if status in ("done", "refused", "cancelled"):  # a failed one goes on with what was approved
            plan_at(self._folder).unlink(missing_ok=True)
        if tell:
            self._teller.tell(self._record.run)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM cancel the run cleanly."""

        if not self._cancel_on_signal:
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
        """Sync to MLflow in the background; at the end wait for the rest, for a limited time."""
        argv = sync_command(self._home, self._folder.run)
        records = self._home.processes if self._home.target is None else None
        servers = ForkServers(own=False, records=records)
        process = servers.start(SYNC, argv, step_environment(), self._folder.log("sync"))
        self._syncing = process
        try:
            yield
        finally:
            # Still "running": not even the failure could be recorded, as on a full disk.
            failed = self._record.run.status in ("failed", "running")
            self._record.update(synced=finished(process, FAILED_SYNC_S if failed else SYNC_S))
            if failed and not self._record.run.synced:
                name = f"sync-{self._folder.run}"
                log_file = self._folder.log("sync")
                with contextlib.suppress(InfraError):
                    processes.start(self._home.processes, name, argv, log=log_file, cwd=self._home.path)
            elif not self._record.run.synced:
                self._progress.say(
                    f"trained, not synced: MLflow did not receive everything; `tidegate resume {self._folder.run}` "
                    f"syncs it later; see {self._folder.log('sync')}"
                )
