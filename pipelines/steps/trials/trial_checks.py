"""Options that do not fit the task: refused once the data has told it, before the training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidegate.models.config.class_weights import weights_by_place
from tidegate.models.decoding.settings import Decoding
from tidegate.models.errors import OptionsError
from tidegate.pipelines.step_types.train import TrainInputs

TARGETS = {
    "generation": "a text",
    "detection": "boxes",
    "multilabel": "a set of labels",
    "segmentation": "a class at each place",
    "tagging": "a label for each token",
    "multioutput": "several outputs",
    "reconstruction": "the input itself",
    "forecasting": "a forecast",
    "anomaly": "the input itself",
}


def refuse_unused(inputs: TrainInputs, training: dict[str, Any], task: str) -> None:
    """Refuse options that would have no effect, or fail after the training.

    Raises:
        OptionsError: names the first one.
    """
    for sentence in _unused(inputs, training, task):
        raise OptionsError(sentence)


def _unused(inputs: TrainInputs, training: dict[str, Any], task: str) -> Iterator[str]:
    if inputs.decoding is not None:
        key, wanted = (
            ("decoding", "generation") if isinstance(inputs.decoding, Decoding) else ("detection",) * 2
        )
        if task != wanted:
            yield f"serving.{key} is for a {wanted}, and this is a {task}; leave it out"
    if training["calibration"] and task == "regression":
        yield (
            "Option 'training.calibration' is set, and this is a regression; expected a classification, whose "
            "probabilities it calibrates; leave it out"
        )
    if training["thresholds"] and task != "multilabel":
        yield (
            f"Option 'training.thresholds' is set, and this is a {task}; expected sets of labels, of which it chooses "
            "from which probability each is answered; leave it out"
        )
    folds = inputs.content["data"]["split"].get("folds")
    yield from unfit_options(task, training, folds, inputs.explain)


def unfit_options(
    task: str, training: Mapping[str, Any], folds: int | None, explain: bool = False
) -> Iterator[str]:
    """A sentence for each option that needs one class or number a row, where a task has none."""
    if task not in TARGETS:
        return
    weighed = task in ("generation", "segmentation")
    keys = ["calibration", "privacy", "explain", *([] if weighed else ["class_weights"])]
    asked = {f"training.{key}": training[key] for key in keys}
    asked["data.split.folds"] = None if task == "forecasting" else folds
    asked["serving.explain"] = explain
    yield from (
        f"Option {name!r} is set, and the target is {TARGETS[task]}; expected a class or a number per row; "
        "leave the option out"
        for name, value in asked.items()
        if value
    )


def show_class_weights(asked: Any, classes: Sequence[Any]) -> None:
    """Print the weight of each class, before anything slow.

    Args:
        asked: `training.class_weights`; None: none are printed.
        classes: the target's.

    Raises:
        OptionsError: they do not fit the classes.
    """
    if asked is not None:
        pairs = zip(classes, weights_by_place(asked, classes), strict=True)
        shown = asked if isinstance(asked, str) else ", ".join(f"{name} {one:g}" for name, one in pairs)
        print(f"class weights: {shown}", flush=True)
