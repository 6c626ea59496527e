"""run_plan: order, parallelism, retries, and skipping of finished steps."""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tidegate.infra.store import Store
from tidegate.infra.system.files import read_json, write_atomic
from tidegate.pipelines.driver.kept_outputs import KeptOutputs
from tidegate.pipelines.driver.ready_steps import ReadySteps
from tidegate.pipelines.errors import StepError
from tidegate.pipelines.executors.base import Executor, Handle, StepCall
from tidegate.pipelines.planning.cached_steps import is_cached
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.planning.step import Step
from tidegate.pipelines.planning.suggestions import Suggestions
from tidegate.pipelines.state.finished_steps import find_outputs, new_outputs
from tidegate.pipelines.state.home import RunFolder, StepRecord, StepStatus
from tidegate.pipelines.step_types.base import From, StepPart
from tidegate.pipelines.step_types.train import TrainInputs

MAX_RETRIES = 2  # of a step that was killed; a step that failed by itself would fail again


class RunListener(Protocol):
    """Receives the events of a run."""

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        """A step changed its status; `outputs` are given once it is done."""
        ...

    def on_retry(self, step_id: str, signal: int) -> None:
        """A step's process was killed and is restarted."""
        ...

    def on_notice(self, step_id: str, text: str) -> None:
        """A step waits or restarted; `text` tells why."""
        ...

    def on_poll(self) -> None:
        """Called after each poll of the running steps; may raise CancelledError."""
        ...


@dataclass
class _Running:
    step: Step
    handle: Handle
    began: float
    retries: int = 0


def run_plan(
    plan: Plan,
    executor: Executor,
    store: Store,
    folder: RunFolder,
    listener: RunListener,
) -> Mapping[str, dict[str, Any]]:
    """Run every step that is not finished; return the outputs of all steps by id.

    Args:
        plan: the steps in order.
        executor: where they run.
        store: where finished steps are found.
        folder: the run's folder, for calls, logs and errors.
        listener: receives every change; an exception that it raises ends the run.

    Raises:
        StepError: a step failed that the run needs.
        CancelledError, RefusedError: raised by the listener.
    """
    execution = _Execution(plan, executor, store, folder, listener)
    try:
        while not execution.is_done():
            execution.start_ready()
            ended = execution.collect()
            listener.on_poll()
            if not ended:  # else the next step may start at once
                time.sleep(executor.poll_s)
    except BaseException:
        execution.cancel()
        raise
    return execution.outputs


@dataclass
class _Execution:
    plan: Plan
    executor: Executor
    store: Store
    folder: RunFolder
    listener: RunListener
    outputs: KeptOutputs = field(default_factory=KeptOutputs)
    failed: dict[str, StepError] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = ReadySteps(self.plan.steps)
        self.suggestions = Suggestions(step.id for step in self.plan.of("train"))

    def is_done(self) -> bool:
        return not self.waiting and not self.running

    def start_ready(self) -> None:
        search = self.plan.experiment.search
        parallelism = search.parallelism if search else 1
        while len(self.running) < parallelism and (step := self.waiting.take()) is not None:
            self._start(step)

    def _start(self, step: Step) -> None:
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
            inputs=self._given(self._resolve_inputs(step.inputs)),
            log=self.folder.log(step.id),
        )
        write_atomic(self.folder.call(step.id), call.model_dump_json().encode())
        self._report(step, "running", 0.0)
        self.running[step.id] = _Running(step, self.executor.start(call), time.monotonic())
        if step.step == "prepare":
            self.suggestions.import_early(self.plan.experiment.search)

    def _require_a_trial(self, step: Step) -> None:
        failures = [self.failed[before] for before in step.after if before in self.failed]
        if len(failures) == len(step.after):
            message = f"all {len(failures)} trials failed; the last: {failures[-1].message}"
            raise StepError(step.id, message, failures[-1].trace)

    def _resolve_inputs(self, inputs: StepPart) -> StepPart:
        """The inputs with each From replaced by the output it names; failed trials drop out of lists."""
        return type(inputs).model_validate({name: self._resolve(value) for name, value in inputs})

    def _given(self, inputs: StepPart) -> StepPart:
        """A trial's inputs with its values and limits, which depend on earlier trials."""
        return self.suggestions.into(inputs, self.outputs) if isinstance(inputs, TrainInputs) else inputs

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, From):
            outputs = self.outputs[value.step]
            return outputs if value.output is None else outputs[value.output]
        if isinstance(value, list):
            there = [inner for inner in value if not (isinstance(inner, From) and inner.step in self.failed)]
            return [self._resolve(inner) for inner in there]
        return value

    def collect(self) -> bool:
        """Take what ended; return whether a step did."""
        before = len(self.running)
        for running in list(self.running.values()):
            code = running.handle.poll()
            for text in running.handle.notices():
                self.listener.on_notice(running.step.id, text)
            if code is not None:
                self._handle_exit(running, code)
        return len(self.running) < before

    def _handle_exit(self, running: _Running, code: int) -> None:
        step, seconds = running.step, time.monotonic() - running.began
        if code < 0 and running.retries < MAX_RETRIES:
            call = StepCall.model_validate_json(self.folder.call(step.id).read_bytes())
            self.listener.on_retry(step.id, -code)
            running.handle, running.retries = self.executor.start(call), running.retries + 1
            return
        del self.running[step.id]
        if code == 0:
            self._finish(step, "done", seconds)
        else:
            self._fail(step, code, seconds)

    def _finish(self, step: Step, status: StepStatus, seconds: float) -> None:
        outputs = (find_outputs if status == "cached" else new_outputs)(self.store, step.key)
        if outputs is None:
            raise StepError(
                step.id,
                "its process ended before the step did, as after os._exit() in the project's code; it left no outputs",
            )
        self.outputs.add(step.id, outputs)
        self.waiting.has_ended(step.id)
        self._report(step, status, seconds, outputs)

    def _fail(self, step: Step, code: int, seconds: float) -> None:
        error = _step_error(step, code, self.folder.error(step.id))
        self._report(step, "failed", seconds, {"error": error.message})
        if not step.optional:
            raise error
        self.failed[step.id] = error
        self.waiting.has_ended(step.id)

    def _report(
        self, step: Step, status: StepStatus, seconds: float, outputs: dict[str, Any] | None = None
    ) -> None:
        record = StepRecord(
            id=step.id, step=step.step, status=status, seconds=round(seconds, 2), key=step.key
        )
        self.listener.on_step(record, outputs)

    def cancel(self) -> None:
        for running in self.running.values():
            running.handle.cancel()
            self._report(running.step, "cancelled", time.monotonic() - running.began)


def _step_error(step: Step, code: int, path: Path) -> StepError:
    noted = read_json(path)
    if noted:
        return StepError(step.id, noted["message"], noted["trace"], noted["kind"])
    if code < 0:
        message = f"its process was killed by signal {-code}, {MAX_RETRIES + 1} times" + (
            "; the machine may have run out of memory" if -code == signal.SIGKILL else ""
        )
        return StepError(step.id, message)
    return StepError(
        step.id, f"its process ended with code {code} without an error message; `tidegate logs` shows more"
    )
