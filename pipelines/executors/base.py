"""The contract between the driver and the place where a step runs."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationInfo, field_validator

from tidegate.pipelines.planning.step import INPUTS, Step
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.train import TrainInputs

WORKER = "tidegate.pipelines.executors.worker"


class StepCall(BaseModel):
    """One step to run, with all that a worker needs to find its inputs and write its outputs.

    Attributes:
        run: URI of the run, `file:///…/runs/NAME`.
        id: the step's id in the plan.
        step: which step, a key of `MODULES` in `pipelines/steps`.
        key: content hash under which its outputs are stored.
        inputs: of that step's type in INPUTS.
        log: file for what the step prints.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")
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
        """Number of processes that run it together: one per node of a train step, else one."""
        return self.inputs.nodes if isinstance(self.inputs, TrainInputs) else 1


class Handle(Protocol):
    """A started step."""

    def poll(self) -> int | None:
        """None while it runs; then 0 for success, 1 for a failed step, below 0 if it was killed."""
        ...

    def logs(self) -> str:
        """What the step has printed so far."""
        ...

    def notices(self) -> list[str]:
        """New notices for the user since the last call: why it waits, or that it restarted."""
        ...

    def cancel(self) -> None:
        """Stop the step now and return when it is gone; no effect if it already ended."""
        ...


class Executor(Protocol):
    """A place where steps run: a process here, this very process, a Job on a cluster."""

    @property
    def poll_s(self) -> float:
        """Seconds between two polls of its running steps."""
        ...

    def expect(self, steps: Iterable[Step], log: Callable[[str], Path]) -> None:
        """Learn which steps will be started, in their order, to make ready what takes long; it has no other effect.

        Args:
            steps: those that are not finished; their inputs are those of the plan.
            log: the log file of a step, by its id.
        """
        ...

    def start(self, call: StepCall) -> Handle:
        """Start a step and return at once.

        Raises:
            OSError: it cannot be started.
        """
        ...


def member_name(step_id: str, rank: int) -> str:
    """The name of the log and the error file of one process of a step; for rank 0 it is the step's id."""
    return f"{step_id}.member-{rank}" if rank else step_id


def step_arguments(call: StepCall) -> list[str]:
    """The arguments of the worker's main function, the same in every executor."""
    return ["--run", call.run, "--step", call.id]


def step_environment() -> dict[str, str]:
    """The variables of a worker on this machine."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
