"""The seven steps. The table maps a step to the module that defines Inputs, Outputs and run()."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tidegate.pipelines.steps.context import StepContext, StepPart

MODULES = {
    "prepare": "tidegate.pipelines.steps.prepare",
    "train": "tidegate.pipelines.steps.train",
    "select": "tidegate.pipelines.steps.select",
    "package": "tidegate.pipelines.steps.package",
    "deploy": "tidegate.pipelines.steps.deploy",
    "verify": "tidegate.pipelines.steps.verify",
    "promote": "tidegate.pipelines.steps.promote",
}


def follow(inputs: Any, context: StepContext) -> None:
    """What all processes of a train step do but the first: the same training, of which they tell and keep nothing."""
    import_module(MODULES["train"]).follow(inputs, context)


def load_step(name: str) -> tuple[type[StepPart], Callable[[Any, StepContext], StepPart]]:
    """The Inputs class and run() of a step."""
    module = import_module(MODULES[name])
    return module.Inputs, module.run
