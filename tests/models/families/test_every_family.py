"""What holds for every family, found by its name: a new one is tested as soon as it is named in FAMILIES."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest

from tidegate.models.data.default_boxes import Grid
from tidegate.models.errors import OptionsError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families import FAMILIES, family, tasks_of
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import History, fit
from tidegate.serving.untrusted import check_model

ROWS = 12
# Smaller than by default, so that the tests are quick.
SMALL: dict[str, dict[str, Any]] = {
    "inception": {"stem": 4, "stages": [[8], [8]], "dropout": 0},
    "wavenet": {"filters": 8, "skip": 8, "depth": 3},
    "transformer": {"width": 16, "feed_forward": 16, "layers": 2, "heads": 2},
    "char_lm": {"units": [12, 8], "embedding": 6},
    "gpt": {"width": 16, "layers": 2, "heads": 2},
    "seq2seq": {"units": 12, "embedding": 6},
    "ssd": {"filters": [8], "convolutions": 1, "width": 8, "box_width": 8},
    "autoencoder": {"hidden": [16], "code": 4},
    "unet": {"filters": 4, "depth": 2, "convolutions": 1},
    "tide": {"width": 8, "step_width": 4, "dropout": 0, "season": 2},
}
STEPS = 7
PREFIX = InputSpec((STEPS,), "int32", "prefix", 20)
BESIDE = {"seq2seq": {"prefix": PREFIX}}  # what a family needs beside the one input
FINDERS = [name for name in FAMILIES if "detection" in tasks_of(name)]
GRIDS = (Grid(2, ((3.0, 3.0),)), Grid(4, ((4.0, 6.0), (6.0, 4.0))))  # of images of 8 x 8
OUTPUTS = {name: Outputs(1 + 2 + 4, "linear", GRIDS) for name in FINDERS}  # of all others three classes
FORECASTERS = [name for name in FAMILIES if tasks_of(name) == ("forecasting",)]
OUTPUTS |= {name: Outputs(3, "linear", quantiles=3) for name in FORECASTERS}  # of one step
PAINTERS = [name for name in FAMILIES if tasks_of(name) == ("segmentation",)]
OUTPUTS |= {name: Outputs(3, "softmax", shape=(8, 8)) for name in PAINTERS}  # of images of 8 x 8
WRITERS = [name for name in FAMILIES if "generation" in tasks_of(name)]
INPUTS = (
    InputSpec((5,), "float32", "numeric"),
    InputSpec((8, 3), "float32", "numeric"),
    InputSpec((8, 8, 1), "float32", "image"),
    InputSpec((6,), "int32", "text", 20),
    InputSpec((8, 4), "float32", "sequence"),
    PREFIX,
)


def values(spec: InputSpec) -> np.ndarray:
    """Rows of one input; of sequences and texts each of another length, one of them none at all."""
    random = np.random.default_rng(0)
    if spec.kind == "prefix":
        ids = random.integers(1, spec.vocabulary, (ROWS, *spec.shape)).astype(np.int32)
        ids[:, 0] = 0
        return ids
    there = np.arange(spec.shape[0]) < random.integers(1, spec.shape[0] + 1, (ROWS, 1))
    there[0] = spec.kind not in ("text", "sequence")
    if spec.kind == "text":
        return np.where(there, random.integers(1, spec.vocabulary, (ROWS, *spec.shape)), 0).astype(np.int32)
    numbers = random.normal(size=(ROWS, *spec.shape)).astype(np.float32)
    if spec.kind == "sequence":
        numbers[:, :, -1] = 1
        numbers *= there[:, :, None]
    return numbers


def built(name: str, spec: InputSpec) -> Any:
    specs = {"given": spec, **BESIDE.get(name, {})}
    outputs = OUTPUTS.get(name, Outputs(3, "softmax"))
    return build_model({"family": name, **SMALL.get(name, {})}, specs, outputs, 1)


def writes(name: str, spec: InputSpec) -> bool:
    """Whether the family's model of that input answers tokens, step by step."""
    return spec.kind == "prefix" or name in BESIDE


def rows_for(name: str, spec: InputSpec) -> dict[str, np.ndarray]:
    """Rows of all inputs that the family has then."""
    return {key: values(one) for key, one in {"given": spec, **BESIDE.get(name, {})}.items()}


def learned(name: str, keeper: Any = None, gpus: int = 0, **training: Any) -> tuple[Any, History]:
    """A model of the first input that the family takes, trained on few rows, and its history."""
    spec = taken(name)[0]
    task, classes = ("generation", ()) if writes(name, spec) else ("classification", (0, 1, 2))
    y = np.arange(ROWS, dtype=np.int64) % 3
    if writes(name, spec):
        y = np.where(np.arange(STEPS) < 4, y[:, None], -1)  # and then nothing
    if name in FINDERS:
        task, y = "detection", np.zeros((ROWS, 24, 5), np.float32)
        y[np.arange(ROWS), np.arange(ROWS)] = [1, 0.5, -0.5, 1, 0]
    if name in FORECASTERS:
        task, y = "forecasting", values(spec)[:, :1] + 2
        training["loss"] = {"name": "pinball", "quantiles": [0.1, 0.5, 0.9]}
    if name in PAINTERS:
        task, y = "segmentation", np.digitize(values(spec)[..., 0], [-0.5, 0.5])
    adam = {"name": "adam", "learning_rate": 0.01}
    asked = {"epochs": 15, "batch_size": 4, "optimizer": adam, **training}
    model, rows = built(name, spec), (rows_for(name, spec), y)
    watch = {"seed": 1, "checkpoints": keeper, "gpus": gpus}
    return model, fit(model, rows, None, asked, task=task, classes=classes, **watch)


def taken(name: str) -> list[InputSpec]:
    """The inputs that the family takes; the others it has to refuse in words."""
    found = []
    for spec in INPUTS:
        try:
            built(name, spec)
            found.append(spec)
        except OptionsError as error:
            assert f"family {name!r}" in str(error) and "given" in str(error)
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own, under NumPy 2
@pytest.mark.parametrize("name", FAMILIES)
def test_it_answers_alike_when_saved_and_when_exported(name: str, tmp_path: Path) -> None:
    accepted = taken(name)
    assert accepted
    for spec in accepted:
        model, inputs = built(name, spec), rows_for(name, spec)
        answers = predict(model, inputs)
        shape = (ROWS, *([STEPS] if writes(name, spec) else []), 3)
        shape = (ROWS, 16 + 2 * 4, 7) if name in FINDERS else shape
        shape = (ROWS, 8, 8, 3) if name in PAINTERS else shape
        assert answers.shape == shape and np.isfinite(answers).all()
        model.save(tmp_path / "model.keras")
        check_model("tensorflow", tmp_path / "model.keras", None)
        np.testing.assert_array_equal(
            predict(keras.models.load_model(tmp_path / "model.keras"), inputs), answers
        )
        export_onnx(model, tmp_path / "model.onnx")
        check_model("onnx", tmp_path / "model.onnx", None)
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        for rows in (slice(None), slice(0, 1), slice(3, 5)):
            served = session.run(None, {key: array[rows] for key, array in inputs.items()})[0]
            np.testing.assert_allclose(served, answers[rows], atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_learns(name: str) -> None:
    history = learned(name)[1]
    assert history.epochs[-1]["loss"] < 0.9 * history.epochs[0]["loss"]


@pytest.mark.parametrize("name", FAMILIES)
def test_it_says_where_it_comes_from_and_what_its_options_are(name: str) -> None:
    module = family(name)
    assert module.__doc__ and (name in ("linear", "mlp", "cnn", "text") or "Source: " in module.__doc__)
    assert all(field.description for field in module.Options.model_fields.values())
    assert module.Options.model_config["frozen"] and module.Options.model_config["extra"] == "forbid"


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_behind_the_end_of_a_sequence_or_text_changes_nothing(name: str) -> None:
    for spec in taken(name):
        if spec.kind not in ("text", "sequence") or name in ("linear", "mlp"):
            continue
        longer = InputSpec((spec.shape[0] + 4, *spec.shape[1:]), spec.dtype, spec.kind, spec.vocabulary)
        short, long = built(name, spec), built(name, longer)
        for source, target in zip(short.weights, long.weights, strict=True):
            if source.shape == target.shape:
                target.assign(source)
            else:  # an embedding of places
                target.assign(
                    np.pad(np.asarray(source.value), ((0, target.shape[0] - source.shape[0]), (0, 0)))
                )
        inputs = rows_for(name, spec)
        padding = ((0, 0), (0, 4), *((0, 0),) * (inputs["given"].ndim - 2))
        answers = predict(long, inputs | {"given": np.pad(inputs["given"], padding)})
        np.testing.assert_allclose(answers, predict(short, inputs), atol=1e-5)


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_does_not_look_ahead_and_takes_any_number_of_steps(name: str) -> None:
    (spec,) = (spec for spec in taken(name) if writes(name, spec))
    model, inputs = built(name, spec), rows_for(name, spec)
    key = "prefix" if "prefix" in inputs else "given"
    whole = predict(model, inputs)
    for steps in (1, 3, STEPS):
        begun = inputs | {key: inputs[key][:, :steps]}
        np.testing.assert_allclose(predict(model, begun), whole[:, :steps], atol=1e-5)
    longer = inputs | {key: np.pad(inputs[key], ((0, 0), (0, 5)), constant_values=3)}
    np.testing.assert_allclose(predict(model, longer)[:, :STEPS], whole, atol=1e-5)
