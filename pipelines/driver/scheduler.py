"""run_plan: order, parallelism, retries, and skipping of what is finished."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tidegate.infra.store import Store
from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.errors import StepError
from tidegate.pipelines.executors.base import Executor, Handle, StepCall
from tidegate.pipelines.planning.plan import Plan, Step
from tidegate.pipelines.state.finished_steps import RELEASING, find_outputs
from tidegate.pipelines.state.home import RunFolder, StepRecord, StepStatus, read_json
from tidegate.pipelines.step_types.base import From, StepPart

MOST_RETRIES = 2  # of a step that was killed; one that failed by itself would fail again


class Watch(Protocol):
    """Who wants to know how a run goes."""

    def step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        """A step changed its status; outputs once it is done."""
        ...

    def retry(self, step_id: str, signal: int) -> None:
        """A step's process was killed and is started again."""
        ...

    def news(self, step_id: str, words: str) -> None:
        """A step waits, or began anew."""
        ...

    def tick(self) -> None:
        """Called some times a second; may raise CancelledError."""
        ...


@dataclass
class _Running:
    step: Step
    handle: Handle
    began: float
    retries: int = 0


def is_cached(plan: Plan, step: Step, store: Store) -> bool:
    """Whether a step need not be done again. Releasing is one act: its parts count only when all of it is done."""
    key = plan.of("promote")[0].key if step.step in RELEASING else step.key
    return find_outputs(store, key) is not None and find_outputs(store, step.key) is not None


def run_plan(
    plan: Plan,
    executor: Executor,
    store: Store,
    folder: RunFolder,
    watch: Watch,
) -> dict[str, dict[str, Any]]:
    """Run every step that is not finished; return the outputs of all by step id.

    Args:
        plan: the steps in order.
        executor: where they run.
        store: where finished steps are found.
        folder: the run's folder, for calls, logs and errors.
        watch: told of every change; what it raises ends the run.

    Raises:
        StepError: a step failed that the run can not do without.
        CancelledError, RefusedError: from the watch.
    """
    drive = _Drive(plan, executor, store, folder, watch)
    try:
        while not drive.ended():
            drive.start_ready()
            drive.collect()
            watch.tick()
            time.sleep(executor.poll_s)
    except BaseException:
        drive.cancel()
        raise
    return drive.outputs


@dataclass
class _Drive:
    plan: Plan
    executor: Executor
    store: Store
    folder: RunFolder
    watch: Watch
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, StepError] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)
    waiting: dict[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = {step.id: step for step in self.plan.steps}

    def ended(self) -> bool:
        return not self.waiting and not self.running

    def _over(self, step_id: str) -> bool:
        return step_id in self.outputs or step_id in self.failed

    def start_ready(self) -> None:
        search = self.plan.experiment.search
        for step in list(self.waiting.values()):
            if len(self.running) >= (search.parallelism if search else 1):
                return
            if all(self._over(before) for before in step.after):
                self._start(step)

    def _start(self, step: Step) -> None:
        del self.waiting[step.id]
        if is_cached(self.plan, step, self.store):
            self._finish(step, "cached", 0.0)
            return
        if step.step == "select":
            self._require_a_trial(step)
        self.folder.error(step.id).unlink(missing_ok=True)
        call = StepCall(
            run=self.folder.path.as_uri(),
            id=step.id,
            step=step.step,
            key=step.key,
            inputs=self._filled(step.inputs),
            log=self.folder.log(step.id),
        )
        write_atomic(self.folder.call(step.id), call.model_dump_json().encode())
        self._tell(step, "running", 0.0)
        self.running[step.id] = _Running(step, self.executor.start(call), time.monotonic())

    def _require_a_trial(self, step: Step) -> None:
        failures = [self.failed[before] for before in step.after if before in self.failed]
        if len(failures) == len(step.after):
            message = f"all {len(failures)} trials failed; the last: {failures[-1].message}"
            raise StepError(step.id, message, failures[-1].trace)

    def _filled(self, inputs: StepPart) -> StepPart:
        """The inputs with each From replaced by the output it names; failed trials drop out of lists."""
        return type(inputs).model_validate({name: self._found(value) for name, value in inputs})

    def _found(self, value: Any) -> Any:
        if isinstance(value, From):
            outputs = self.outputs[value.step]
            return outputs if value.output is None else outputs[value.output]
        if isinstance(value, list):
            there = [inner for inner in value if not (isinstance(inner, From) and inner.step in self.failed)]
            return [self._found(inner) for inner in there]
        return value

    def collect(self) -> None:
        for running in list(self.running.values()):
            code = running.handle.poll()
            for words in running.handle.news():
                self.watch.news(running.step.id, words)
            if code is not None:
                self._ended(running, code)

    def _ended(self, running: _Running, code: int) -> None:
        step, seconds = running.step, time.monotonic() - running.began
        if code < 0 and running.retries < MOST_RETRIES:
            call = StepCall.model_validate_json(self.folder.call(step.id).read_bytes())
            self.watch.retry(step.id, -code)
            running.handle, running.retries = self.executor.start(call), running.retries + 1
            return
        del self.running[step.id]
        if code == 0:
            self._finish(step, "done", seconds)
        else:
            self._fail(step, code, seconds)

    def _finish(self, step: Step, status: StepStatus, seconds: float) -> None:
        outputs = find_outputs(self.store, step.key)
        if outputs is None:
            raise StepError(step.id, "it ended well but left no outputs in the store; submit again")
        self.outputs[step.id] = outputs
        self._tell(step, status, seconds, outputs)

    def _fail(self, step: Step, code: int, seconds: float) -> None:
        error = _error_of(step, code, self.folder.error(step.id))
        self._tell(step, "failed", seconds, {"error": error.message})
        if not step.optional:
            raise error
        self.failed[step.id] = error

    def _tell(
        self, step: Step, status: StepStatus, seconds: float, outputs: dict[str, Any] | None = None
    ) -> None:
        record = StepRecord(
            id=step.id, step=step.step, status=status, seconds=round(seconds, 2), key=step.key
        )
        self.watch.step(record, outputs)

    def cancel(self) -> None:
        for running in self.running.values():
            running.handle.cancel()
            self._tell(running.step, "cancelled", time.monotonic() - running.began)


def _error_of(step: Step, code: int, path: Path) -> StepError:
    noted = read_json(path)
    if noted:
        return StepError(step.id, noted["message"], noted["trace"], noted["kind"])
    if code < 0:
        message = (
            f"its process was killed by signal {-code}, {MOST_RETRIES + 1} times; "
            "signal 9 is often the system's answer to too little memory"
        )
        return StepError(step.id, message)
    return StepError(
        step.id, f"its process ended with code {code} and left no words; `tidegate logs` shows more"
    )
