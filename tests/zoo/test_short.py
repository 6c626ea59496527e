"""Every example in short: few rows and one epoch, from its file to an exported model that answers raw rows.

An example is found by its file. The whole of it, with its figures, is `make zoo`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.zoo.__main__ import EXPERIMENTS
from tidegate.models.config.losses import task_of
from tidegate.models.data.columns import Columns, take
from tidegate.models.evaluation.text_metrics import token_probabilities
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families.build import build_model
from tidegate.models.networks.heads.anomaly_score import with_score
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.training.fit import fit
from tidegate.models.training.masked_pretraining import pretrain
from tidegate.models.training.measures.pinball_loss import with_quantiles
from tidegate.pipelines.experiment.load import load_experiment
from tidegate.serving.contract.contract import Contract
from tidegate.serving.inference.parity import measure
from tidegate.serving.inference.predictor import Predictor, sample_rows
from tidegate.serving.runtimes import load_model

ROWS = 48
# What makes the learning long and the test no better.
SHORTER: dict[str, dict[str, Any]] = {
    "transformer": {"pretrain": {"epochs": 1, "copies": 1}},
    "inception": {"stages": [[16], [16]]},
    "tide": {"width": 16},
    "unet": {"filters": 4, "depth": 2},
    "autoencoder": {"hidden": [16]},
    "ssd": {"filters": [8], "convolutions": 1, "width": 8, "box_width": 8},
}


def few(columns: Columns) -> Columns:
    return take(columns, np.arange(min(ROWS, len(next(iter(columns.values()))))))


@pytest.mark.parametrize("name", sorted(path.stem for path in EXPERIMENTS.glob("*.yaml")))
def test_an_example_is_learned_exported_and_answers_raw_rows(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, [])
    data, training = experiment.data, experiment.training
    prepared = prepare(
        dataset=data.dataset,
        inputs=data.inputs and [entry.model_dump() for entry in data.inputs],
        target=data.target
        and [entry if isinstance(entry, str) else entry.model_dump() for entry in data.target],
        split=data.split.model_dump(),
        task=data.task or task_of(training.loss),
        tile=data.tile,
        forecast=data.forecast and data.forecast.model_dump(),
        anomaly=data.anomaly and data.anomaly.model_dump(),
    )
    target, specs = prepared.schema.target, prepared.transforms.input_specs
    train, test = (few(prepared.splits[part]) for part in ("train", "test"))
    inputs = prepared.transforms.apply(train)
    options = experiment.model.model_dump(exclude_none=True)
    options |= SHORTER.get(options["family"], {})
    answers = prepared.transforms.text_target
    classes = answers.spec.vocabulary if answers else len(target.classes)
    grids = prepared.transforms.box_target.grids if prepared.transforms.box_target else ()
    settings = with_quantiles(training.model_dump(exclude={"seed"}) | {"epochs": 1}, target)
    quantiles = len(target.quantiles or ())
    values = target.places if target.shape else len(target.names)
    head = outputs_for(target.task, classes, values, settings["loss"], grids, target.shape, quantiles)
    model = build_model(options, specs, head, 7)
    pretrain(model, options, inputs, 7)
    rows = (inputs, prepared.transforms.target(prepared.schema, train))
    images = [name for name, spec in specs.items() if spec.kind == "image"]
    history = fit(
        model,
        rows,
        None,
        settings,
        task=target.task,
        classes=target.classes,
        seed=7,
        images=images,
        grids=grids,
        target=target,
    )
    model = with_score(model) if target.task == "anomaly" else model
    assert np.isfinite(history.epochs[-1]["loss"])
    export_onnx(model, tmp_path / "model.onnx")
    contract = Contract.of(
        prepared.schema,
        prepared.transforms.categories,
        experiment.serving.settings,
        answers.length if answers else 0,
    )
    predictor = Predictor(contract, prepared.transforms, load_model("onnx", tmp_path / "model.onnx"))
    held_out = prepared.transforms.apply(test)
    reference = predict(model, held_out)
    if answers is not None:
        reference = token_probabilities(partial(predict, model), held_out, answers.encode(test))
    parity = measure(predictor, test, reference)
    assert parity.passed and parity.rows == len(next(iter(test.values())))
    asked = sample_rows({field.name: test[field.name] for field in prepared.schema.inputs}, 3)
    answered = predictor.predict_rows(asked)
    assert len(answered) == 3
    if target.task == "classification":
        assert all(answer["label"] in target.classes for answer in answered)
    if target.task == "detection":
        assert all(set(box) == {"label", "score", "box"} for answer in answered for box in answer["boxes"])
    if target.task == "segmentation":
        assert all(np.shape(answer["mask"]) == target.shape for answer in answered)
    if target.task == "forecasting":
        assert all(len(answer["forecast"]) == target.places for answer in answered)
    if target.task == "generation":
        assert all(isinstance(answer["text"], str) and answer["log_probability"] < 0 for answer in answered)
