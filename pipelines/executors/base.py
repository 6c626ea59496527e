"""The contract between the driver and the place where a step runs."""

from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationInfo, field_validator

from tidegate.pipelines.planning.plan import INPUTS
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.train import TrainInputs


class StepCall(BaseModel):
    """One step to run: enough for a worker anywhere to find its inputs and leave its outputs.

    Attributes:
        run: URI of the run, `file:///…/runs/NAME`.
        id: the step's id in the plan.
        step: which of the seven it is.
        key: content hash under which its outputs are kept.
        inputs: of that step's type in INPUTS.
        log: file that gets what the step prints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    run: str
    id: str
    step: str
    key: str
    inputs: SerializeAsAny[StepPart]
    log: Path

    @field_validator("inputs", mode="plain")
    @classmethod
    def _of_the_step(cls, inputs: Any, known: ValidationInfo) -> StepPart:
        return INPUTS[known.data["step"]].model_validate(inputs)

    @property
    def members(self) -> int:
        """Processes that do it together: as many as a train step spans nodes."""
        return self.inputs.nodes if isinstance(self.inputs, TrainInputs) else 1


class Handle(Protocol):
    """A started step."""

    def poll(self) -> int | None:
        """None while it runs; then 0 for success, 1 for a failed step, below 0 when it was killed."""
        ...

    def logs(self) -> str:
        """What the step has printed so far."""
        ...

    def news(self) -> list[str]:
        """What people should hear of it since the last time: why it waits, that it began anew."""
        ...

    def cancel(self) -> None:
        """End the step now; returns when it is gone. Harmless when it already is."""
        ...


class Executor(Protocol):
    """A place where steps run: a process here, this very process, a Job on a cluster.

    Attributes:
        poll_s: seconds between two looks at what runs there.
    """

    poll_s: float

    def start(self, call: StepCall) -> Handle:
        """Start a step and return at once.

        Raises:
            OSError: it can not be started.
        """
        ...


def member_name(step_id: str, rank: int) -> str:
    """What the log and the error of one process of a step are called: the first one's as the step."""
    return f"{step_id}.member-{rank}" if rank else step_id


def step_arguments(call: StepCall) -> list[str]:
    """What the worker's main function is told, the same in every executor."""
    return ["--run", call.run, "--step", call.id]


def worker_arguments(call: StepCall) -> list[str]:
    """The worker's command line behind the interpreter."""
    return ["-P", "-m", "tidegate.pipelines.executors.worker", *step_arguments(call)]
