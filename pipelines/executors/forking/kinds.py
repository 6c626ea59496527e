"""Which steps a fork server may fork, and which one."""

from collections.abc import Iterator
from pathlib import PurePath

from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.forking.circumstances import is_early
from tidegate.pipelines.executors.forking.imports import STEPS, TRAIN, Kind
from tidegate.pipelines.step_types.code import CodedInputs, CodeInputs
from tidegate.pipelines.step_types.select import SelectInputs
from tidegate.pipelines.step_types.train import TrainInputs

# Steps of ours that import no framework: their server has none either.
LIGHT = ("prepare", "select", "package", "deploy", "verify", "promote")


def kind_of(call: StepCall) -> Kind | None:
    """The kind of server that forks a step; None: it needs a process of its own.

    So do several processes that learn together, GPUs, whose drivers are not made for forks, other backends than
    TensorFlow, as Keras has one backend from its import on, and projects with variables that are read at an import.
    """
    code = code_of(call)
    if call.members > 1 or (code is not None and any(is_early(name) for name in code.env)):
        return None
    if isinstance(call.inputs, TrainInputs):
        return TRAIN if not call.inputs.gpus and _on_tensorflow(call.inputs) else None
    if isinstance(call.inputs, SelectInputs) and not all(trial.exported for trial in call.inputs.trials):
        backends = {call.inputs.training_of(trial)["backend"] for trial in call.inputs.trials}
        return TRAIN if backends == {"tensorflow"} else None  # the winner is exported
    return STEPS if call.step in LIGHT else None


def code_of(call: StepCall) -> CodeInputs | None:
    """The user's project in a step."""
    return call.inputs.code if isinstance(call.inputs, CodedInputs) else None


def module_names(code: CodeInputs) -> Iterator[str]:
    """The names of the project's own modules and packages that a step may import, those at the top."""
    for root in code.roots:
        for file in (*code.trained, *code.served):
            if PurePath(file).is_relative_to(root):
                yield PurePath(file).relative_to(root).parts[0].removesuffix(".py")


def _on_tensorflow(inputs: TrainInputs) -> bool:
    searched = inputs.search.space if inputs.search else {}
    return inputs.training["backend"] == "tensorflow" and "training.backend" not in searched
