"""Inputs of the releasing steps, and outputs of `deploy`.

No step reads the outputs of `verify` and `promote`; they are defined with those steps.
"""

from pydantic import Field

from tidegate.pipelines.experiment.gate import Criterion
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.step_types.package import Packaged
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained


class DeployInputs(CodedInputs):
    """The package to deploy, and its endpoint."""

    run: str
    endpoint: str
    serving: Serving
    packaged: Later[Packaged]
    trial: Later[str]


class Deployed(StepPart):
    """The number of the reserved release, and the port that it will get, if any."""

    release: int
    port: int | None


class VerifyInputs(CodedInputs):
    """The release, the expected answers, and what the gate asks of answers to recorded requests."""

    endpoint: str
    release: Later[int]
    packaged: Later[Packaged]
    winner: Later[Trained]
    prepared: Later[Prepared]
    replayed_by: list[Criterion] = Field(default_factory=list)


class PromoteInputs(StepPart):
    """The release, and the champion that it was compared with."""

    run: str
    endpoint: str
    release: Later[int]
    champion: str | None
