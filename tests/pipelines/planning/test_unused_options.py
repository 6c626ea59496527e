"""Options that a task does not use are refused: by the file if it says the task, else once the data has told it."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.models.config.training import Training
from tidegate.models.decoding.settings import Decoding, Detection
from tidegate.models.errors import OptionsError
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.step_types.train import TrainInputs
from tidegate.pipelines.steps.trials.trial_checks import refuse_unused

CALIBRATED = {"calibration": "temperature"}


def inputs_of(**given: Any) -> TrainInputs:
    content = {"data": {"split": {"folds": given.pop("folds", None)}}}
    return TrainInputs.model_construct(content=content, **{"decoding": None, "explain": False} | given)


@pytest.mark.parametrize(
    ("task", "given", "training", "words"),
    [
        (
            "classification",
            {"decoding": Decoding()},
            {},
            "serving.decoding is for a generation, and this is a cl",
        ),
        ("detection", {"decoding": Decoding()}, {}, "serving.decoding is for a generation"),
        ("regression", {"decoding": Detection()}, {}, "serving.detection is for a detection"),
        ("regression", {}, CALIBRATED, "'training.calibration' is set, and this is a regression"),
        ("generation", {}, CALIBRATED, "'training.calibration' is set, and the target is a text"),
        ("detection", {"folds": 3}, {}, "'data.split.folds' is set, and the target is boxes"),
        ("generation", {"explain": True}, {}, "'serving.explain' is set"),
        ("detection", {}, {"class_weights": "balanced"}, "'training.class_weights' is set"),
        ("generation", {"decoding": Decoding()}, {}, ""),
        ("detection", {"decoding": Detection()}, {}, ""),
        ("classification", {"folds": 3, "explain": True}, CALIBRATED, ""),
    ],
)
def test_what_a_task_does_not_use_is_refused(
    task: str, given: dict[str, Any], training: dict[str, Any], words: str
) -> None:
    options = Training.model_validate(training).model_dump()
    if not words:
        refuse_unused(inputs_of(**given), options, task)
        return
    with pytest.raises(OptionsError, match=words):
        refuse_unused(inputs_of(**given), options, task)


@pytest.mark.parametrize("data", [{"source": "r.csv", "target": "y", "stream": False}, {"dataset": "wine"}])
def test_a_window_of_rows_in_memory_is_refused(data: dict[str, Any]) -> None:
    document = {"name": "a", "data": data | {"shuffle_buffer": 9}, "model": {"family": "mlp"}}
    with pytest.raises(ExperimentError, match="data: shuffle_buffer is for streamed rows"):
        validate(document, "here")
