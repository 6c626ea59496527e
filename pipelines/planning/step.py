"""One step of a plan: its kind, the key of its result, and its inputs. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tidegate.models.decoding.settings import DecodingSettings
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.identity import (
    Facts,
    digest_of,
)
from tidegate.pipelines.planning.project.parts import SERVED
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.code import CodeInputs
from tidegate.pipelines.step_types.import_model import ImportInputs
from tidegate.pipelines.step_types.package import PackageInputs
from tidegate.pipelines.step_types.prepare import PrepareInputs
from tidegate.pipelines.step_types.release import DeployInputs, PromoteInputs, VerifyInputs
from tidegate.pipelines.step_types.select import SelectInputs
from tidegate.pipelines.step_types.train import TrainInputs

INPUTS: dict[str, type[StepPart]] = {
    "prepare": PrepareInputs,
    "train": TrainInputs,
    "import": ImportInputs,
    "select": SelectInputs,
    "package": PackageInputs,
    "deploy": DeployInputs,
    "verify": VerifyInputs,
    "promote": PromoteInputs,
}
STEPS = tuple(INPUTS)
TRIALS = ("train", "import")  # the steps that leave a candidate


def candidate_step(experiment: Experiment) -> str:
    """The kind of step that leaves its candidates."""
    return "train" if experiment.model.trained is None else "import"


def steps_for(experiment: Experiment) -> list[str]:
    """The kinds of steps that its plan has."""
    return [step for step in STEPS if step not in TRIALS or step == candidate_step(experiment)]


@dataclass(frozen=True)
class Step:
    """One step: its name, the key of its result, and what it needs.

    Attributes:
        id: unique in the plan, the same for the same plan.
        step: one of STEPS.
        key: content hash; a finished step with this key is not run again.
        made: makes its inputs. A plan that is only shown does without their classes, which take most of its time.
        after: ids of steps that must end first.
        optional: its failure does not end the run (one trial of several).
    """

    id: str
    step: str
    key: str
    made: Callable[[], StepPart] = field(compare=False, repr=False)
    after: tuple[str, ...] = ()
    optional: bool = False

    @cached_property
    def inputs(self) -> StepPart:
        """Of that step's type in INPUTS, with a `From` for each output of an earlier step."""
        return self.made()


def make_step(
    step: str,
    facts: Facts,
    parts: list[Any],
    made: Callable[[], StepPart],
    *,
    name: str | None = None,
    after: tuple[str, ...] = (),
    optional: bool = False,
) -> Step:
    """A step with the key of its result: of its code, its versions and `parts`. `made` makes its inputs."""
    key = digest_of(step, facts.code[step], facts.versions[step], parts)
    return Step(f"{name or step}-{key[:10]}", step, key, made, after, optional)


def code_inputs(experiment: Experiment, facts: Facts) -> CodeInputs | None:
    """The user's project as steps get it; None where there is none."""
    project = facts.project
    if project is None:
        return None
    return CodeInputs(
        snapshot=project.snapshot,
        folder=project.folder,
        roots=project.roots,
        model=project.model,
        transform=project.transform,
        trained=tuple(project.of("train").files),
        served=tuple(project.of(SERVED).files),
        identity=facts.model,
        env=project.env,
        secrets=tuple(experiment.code.secrets),
        environment=project.lock.digest,
        packages=facts.packages,
        served_packages=facts.served,
        pins=project.lock.versions,
    )


def settings_key(settings: DecodingSettings | None) -> list[Any]:
    """The decoding settings as a part of a key; nothing where none are given, as in older keys."""
    return [] if settings is None else [settings.model_dump(mode="json")]
