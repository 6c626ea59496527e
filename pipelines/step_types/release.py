"""What the steps that release take, and what `deploy` leaves for the others.

What no step reads, of `verify` and `promote`, stands with those steps.
"""

from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.package import Packaged
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained


class DeployInputs(StepPart):
    """What is deployed, and where."""

    run: str
    endpoint: str
    serving: Serving
    packaged: Later[Packaged]
    trial: Later[str]


class Deployed(StepPart):
    """The reserved release, its number and the port that it will take, where it takes one."""

    release: int
    port: int | None


class VerifyInputs(StepPart):
    """The release, and what it must answer."""

    endpoint: str
    release: Later[int]
    packaged: Later[Packaged]
    winner: Later[Trained]
    prepared: Later[Prepared]


class PromoteInputs(StepPart):
    """The release, and the champion it was compared with."""

    run: str
    endpoint: str
    release: Later[int]
    champion: str | None
