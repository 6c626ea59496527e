"""The steps. The table maps a step to the module with its run(); `step_types` has its inputs and outputs."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.steps.context import StepContext

MODULES = {
    "prepare": "tidegate.pipelines.steps.prepare",
    "train": "tidegate.pipelines.steps.train",
    "import": "tidegate.pipelines.steps.import_model",
    "select": "tidegate.pipelines.steps.select",
    "package": "tidegate.pipelines.steps.package",
    "deploy": "tidegate.pipelines.steps.deploy",
    "verify": "tidegate.pipelines.steps.verify",
    "promote": "tidegate.pipelines.steps.promote",
}


def run_follower(inputs: Any, context: StepContext) -> None:
    """Run a train step in any process but the first: the same training, without reporting or saving anything."""
    import_module(MODULES["train"]).run_follower(inputs, context)


def load_step(name: str) -> Callable[[Any, StepContext], StepPart]:
    """The run() of a step; it takes inputs of the type in `planning.plan.INPUTS`."""
    run: Callable[[Any, StepContext], StepPart] = import_module(MODULES[name]).run
    return run
