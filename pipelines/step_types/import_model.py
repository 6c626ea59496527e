"""Inputs and outputs of `import`."""

from typing import Any, Literal

from tidegate.infra.store import Ref
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Trained


class ImportInputs(CodedInputs):
    """A trained model, and the rows that prove it.

    Attributes:
        format, model: of the file; a SavedModel as one zip.
        contract: how a model that Tidegate trained gets its inputs of raw columns; None: it takes them as they are.
        answers: the model's answers to the rows of the data, by its own framework.
        loss: the experiment's `training.loss`; `from_logits` says that the model answers logits.
        metrics: the experiment's `training.metrics`.
        classes: the experiment's `model.classes`.
        content, versions, tags: see `step_types.train.TrainInputs`.
    """

    run: str
    name: str
    prepared: Later[Prepared]
    format: Literal["keras", "onnx", "saved_model"]
    model: Ref
    contract: Ref | None
    answers: Ref | None
    loss: str | dict[str, Any] | None
    metrics: list[str] | None
    classes: list[bool | int | str] | None
    content: dict[str, Any]
    versions: dict[str, str]
    tags: dict[str, str]


class Imported(StepPart):
    """A model as if it had been trained here, and the data as this model takes it."""

    trained: Trained
    prepared: Prepared
