"""What is exported of a model's slopes explains as the model itself, for every family and kind of input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.families.test_every_family import INPUTS, SMALL, taken, values, writes
from tests.models.imports import imported_by
from tidegate.models.errors import ExportError, OptionsError
from tidegate.models.explaining.integrated_gradients import POINTS, integrated_gradients
from tidegate.models.explaining.keras_gradients import KerasPathGradients, embeddings
from tidegate.models.export.onnx_explainer import export_path_gradients
from tidegate.models.families import FAMILIES, tasks_of
from tidegate.models.families.build import build_model
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.serving.runtimes import load_slopes
from tidegate.serving.untrusted import check_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
IMAGE, SEQUENCE, TEXT = (
    next(spec for spec in INPUTS if spec.kind == kind) for kind in ("image", "sequence", "text")
)
PLAIN = [("cnn", IMAGE), ("lstm", SEQUENCE), ("text", TEXT)]
# Layers whose gradients the converter does not know by itself, in all the ways in which they can be told to work.
OPTIONS: list[tuple[str, dict[str, Any], InputSpec]] = [
    *(
        ("mlp", {"activation": name}, INPUTS[0])
        for name in ("gelu", "silu", "elu", "selu", "sigmoid", "leaky_relu")
    ),
    (
        "cnn",
        {"pooling": "average", "filters": [4, 8], "batch_norm": True},
        InputSpec((9, 7, 3), "float32", "image"),
    ),
    ("cnn", {"filters": [4, 8], "kernel_size": 2}, InputSpec((9, 7, 3), "float32", "image")),
    ("lstm", {"bidirectional": True, "pooling": "mean", "units": [5, 6]}, SEQUENCE),
    ("gru", {"patch": 3, "pooling": "max", "units": [5, 6]}, SEQUENCE),
    ("text", {"mode": "convolution"}, TEXT),
]


def check(family: str, options: dict[str, Any], spec: InputSpec, folder: Path) -> None:
    """Build, export and compare; or the family can not be explained, and says so."""
    specs = {"given": spec}
    model = build_model({"family": family, **options}, specs, Outputs(3, "softmax"), 1)
    given = {"given": values(spec)[:3]}
    try:
        slopes = KerasPathGradients(model, specs)
    except OptionsError as error:
        assert spec.kind == "text" and "no Embedding layer reads the text 'given'" in str(error)
        return
    answers = predict(model, given)
    export_path_gradients(model, slopes, folder / "slopes.onnx")
    np.testing.assert_array_equal(predict(model, given), answers)  # the model is as it was
    served = load_slopes("onnx", folder / "slopes.onnx", specs)
    wanted = integrated_gradients(slopes, given, answers, True)
    found = integrated_gradients(served, given, answers, True)
    largest = np.abs(wanted.attributions["given"]).max()
    assert largest > 0
    np.testing.assert_allclose(found.attributions["given"], wanted.attributions["given"], atol=1e-4 * largest)
    np.testing.assert_allclose(found.baselines, wanted.baselines, atol=1e-6)
    assert np.abs(found.gaps).max() < 0.02 * np.abs(found.predictions - found.baselines).max()


@pytest.mark.parametrize(("name", "spec"), PLAIN, ids=[name for name, _ in PLAIN])
def test_it_explains_as_the_model_does(name: str, spec: InputSpec, tmp_path: Path) -> None:
    check(name, SMALL.get(name, {}), spec, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if "classification" in tasks_of(name)])
def test_so_does_every_family_with_every_input(name: str, tmp_path: Path) -> None:
    for spec in [spec for spec in taken(name) if not writes(name, spec)]:
        check(name, SMALL.get(name, {}), spec, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "spec"), OPTIONS, ids=str)
def test_so_does_every_kind_of_layer(
    name: str, options: dict[str, Any], spec: InputSpec, tmp_path: Path
) -> None:
    check(name, options, spec, tmp_path)


def test_any_number_of_rows_goes_through_a_graph_of_a_fixed_number(tmp_path: Path) -> None:
    spec = {"x": InputSpec((3,), "float32", "numeric"), "unread": InputSpec((2,), "float32", "numeric")}
    tensors = {name: keras.Input(one.shape, name=name) for name, one in spec.items()}
    output = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(4, "tanh")(tensors["x"]))
    model = keras.Model({"x": tensors["x"]}, output)
    rows = {"x": np.random.default_rng(1).normal(size=(POINTS + 1, 3)).astype(np.float32)}
    slopes = KerasPathGradients(model, spec)
    export_path_gradients(model, slopes, tmp_path / "slopes.onnx")
    check_model("onnx", tmp_path / "slopes.onnx")
    chance = predict(model, rows)
    answers = np.concatenate([1 - chance, chance], axis=1)
    served = load_slopes("onnx", tmp_path / "slopes.onnx", spec)
    for some in (slice(0, 1), slice(None)):
        few = inputs_of(model, {"x": rows["x"][some]})
        found = integrated_gradients(served, few, answers[some], True)
        assert np.abs(found.gaps).max() < 1e-5 and found.attributions["x"].shape == few["x"].shape
        assert set(found.chosen.tolist()) == set(answers[some].argmax(axis=1).tolist())


def test_two_texts_are_told_apart_by_their_layers() -> None:
    spec = {"title": TEXT, "body": TEXT}
    tensors = {name: keras.Input((6,), dtype="int32", name=name) for name in spec}
    shared, layers = keras.layers.Embedding(20, 3), [keras.layers.Embedding(20, 3) for _ in spec]

    def network(embed: list[Any]) -> Any:
        vectors = [layer(tensor) for layer, tensor in zip(embed, tensors.values(), strict=True)]
        flat = keras.layers.Flatten()(keras.layers.Concatenate()(vectors))
        return keras.Model(tensors, keras.layers.Dense(2, activation="softmax")(flat))

    found = embeddings(network(layers), spec)
    assert [(text, layers.index(layer)) for text, layer in found.values()] == [("title", 0), ("body", 1)]
    with pytest.raises(OptionsError, match="one Embedding layer reads several of the texts title, body"):
        embeddings(network([shared, shared]), spec)


def test_what_has_no_form_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    tensor = keras.Input((4, 4, 4, 1), name="x")
    model = keras.Model(
        {"x": tensor},
        keras.layers.Dense(2, activation="softmax")(
            keras.layers.Flatten()(keras.layers.MaxPooling3D(2)(tensor))
        ),
    )
    spec = {"x": InputSpec((4, 4, 4, 1), "float32", "numeric")}
    slopes = KerasPathGradients(model, spec)
    with pytest.raises(ExportError, match=r"the model's gradient has no ONNX form: .*MaxPool3DGrad"):
        export_path_gradients(model, slopes, tmp_path / "slopes.onnx")
    assert not (tmp_path / "slopes.onnx").exists()


def test_importing_what_an_endpoint_needs_imports_no_framework() -> None:
    code = "import tidegate.serving.inference.explainer, tidegate.models.export.onnx_explainer"
    assert imported_by(code, ("keras", "tensorflow", "tf2onnx")) == []
