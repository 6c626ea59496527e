"""Attributions are complete for every kind of input, and are those of a model whose answer is known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tests.models.families.test_every_family import INPUTS, SMALL, taken, values, writes
from tests.models.on_backend import printed_on
from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.metrics import to_predictions
from tidegate.models.explaining.attribution_figures import maps, render_attributions
from tidegate.models.explaining.integrated_gradients import (
    Explained,
    attribution_report,
    integrated_gradients,
)
from tidegate.models.explaining.keras_gradients import KerasPathGradients
from tidegate.models.families import FAMILIES, tasks_of
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import InputSpec, Transforms

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own


def explain(
    model: Any, given: dict[str, Any], specs: dict[str, InputSpec], activation: str = "softmax"
) -> Explained:
    values = to_predictions(predict(model, given), activation)
    return integrated_gradients(KerasPathGradients(model, specs), given, values, activation != "linear")


@pytest.mark.parametrize("name", [name for name in FAMILIES if "classification" in tasks_of(name)])
def test_attributions_are_complete_for_every_family_and_kind_of_input(name: str) -> None:
    for spec in [spec for spec in taken(name) if not writes(name, spec)]:
        model = build_model(
            {"family": name, **SMALL.get(name, {})}, {"given": spec}, Outputs(3, "softmax"), 1
        )
        given = {"given": values(spec)[:4]}
        try:
            found = explain(model, given, {"given": spec})
        except OptionsError as error:
            assert spec.kind == "text" and "no Embedding layer reads the text 'given'" in str(error)
            continue
        answers = predict(model, given)
        np.testing.assert_array_equal(found.chosen, answers.argmax(axis=1))
        np.testing.assert_allclose(found.predictions, answers.max(axis=1), atol=1e-6)
        shape = given["given"].shape
        assert found.attributions["given"].shape == shape
        assert np.abs(found.attributions["given"]).max() > 0
        assert np.abs(found.gaps).max() < 0.02 * np.abs(found.predictions - found.baselines).max()
        if spec.kind == "sequence":
            assert not found.attributions["given"][..., -1].any()
        if spec.kind == "text":
            assert not found.attributions["given"][given["given"] == 0].any()


def linear(weights: list[float], activation: str) -> Any:
    tensor = keras.Input((len(weights),), name="x")
    layer = keras.layers.Dense(1, activation=activation, use_bias=False)
    model = keras.Model({"x": tensor}, layer(tensor))
    layer.set_weights([np.array(weights, np.float32)[:, None]])
    return model


SPECS = {"x": InputSpec((3,), "float32", "numeric")}


def test_of_a_linear_model_they_are_weight_times_value() -> None:
    x = np.array([[1.0, 2.0, -3.0]], np.float32)
    found = explain(linear([0.5, -1.0, 2.0], "linear"), {"x": x}, SPECS, "linear")
    np.testing.assert_allclose(found.attributions["x"], [[0.5, -2.0, -6.0]], rtol=1e-5)
    assert found.baselines.tolist() == [0.0]


def test_of_two_classes_the_one_predicted_is_explained() -> None:
    """sigma(w x) along a line: the difference to 1 / 2 is divided in proportion to w x."""
    weights, x = np.array([0.5, -1.0, 2.0]), np.array([[1.0, 2.0, -1.0], [1.0, 0.0, 1.0]], np.float32)
    found = explain(linear(weights.tolist(), "sigmoid"), {"x": x}, SPECS, "sigmoid")
    chance = 1 / (1 + np.exp(-(x @ weights)))
    assert found.chosen.tolist() == [0, 1]
    np.testing.assert_allclose(found.predictions, [1 - chance[0], chance[1]], rtol=1e-5)
    parts = x * weights / (x @ weights)[:, None]
    np.testing.assert_allclose(found.attributions["x"], parts * (found.predictions - 0.5)[:, None], rtol=1e-3)


def test_a_layer_answers_as_before_afterwards() -> None:
    spec = next(spec for spec in INPUTS if spec.kind == "text")
    model = build_model({"family": "text"}, {"given": spec}, Outputs(3, "softmax"), 1)
    before = predict(model, {"given": values(spec)})
    explain(model, {"given": values(spec)[:2]}, {"given": spec})
    np.testing.assert_array_equal(predict(model, {"given": values(spec)}), before)


def test_the_pictures_name_features_and_words() -> None:
    columns = {
        "size": np.array([1.0, 2.0, 3.0, 4.0]),
        "city": np.array(["Rome", "Oslo", "Rome", "Oslo"], object),
        "note": np.array(["good <b>", "bad", "good good", "bad bad"], object),
        "y": np.array([0, 1, 0, 1]),
    }
    wanted = [{"name": "size"}, {"name": "city", "kind": "categorical"}, {"name": "note", "kind": "text"}]
    schema = infer_schema(columns, wanted, ["y"], "classification")
    transforms = Transforms.fit(schema, columns)
    model = build_model({"family": "text"}, transforms.input_specs, Outputs(2, "softmax"), 1)
    found = explain(model, transforms.apply(columns), transforms.input_specs)
    facts, arrays = attribution_report(found, transforms, columns["y"], schema.target)
    by_name = {entry["name"]: entry["labels"] for entry in facts["inputs"]}
    assert by_name["features"] == ["size", "city=Oslo", "city=Rome"]
    assert by_name["note"] == [["good", "b"], ["bad"], ["good", "good"], ["bad", "bad"]]
    assert not arrays["attribution/features"][0, 1] and arrays["attribution/features"][0, 2]
    pictures = dict(render_attributions({"explained": facts, **arrays}))
    assert set(pictures) == {"explanation_features.png", "explanation_note.html"}
    assert pictures["explanation_features.png"][:4] == b"\x89PNG"
    page = pictures["explanation_note.html"].decode()
    assert page.count("<h4>") == 4 and page.count(">good</span>") == 3 and "true 1, baseline" in page


@pytest.mark.parametrize("shape", [(5,), (8, 3), (8, 8, 3)])
def test_arrays_steps_and_images_are_shown_above_their_attributions(shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).normal(size=(3, *shape))
    figure = maps(["one, two", "three", "four"], rows, rows)
    drawn = [axes.images[0].get_array() for axes in figure.axes]
    expected = rows[0].sum(axis=-1) if len(shape) == 3 else rows[0].T.reshape(-1, shape[0])
    np.testing.assert_allclose(drawn[3], expected)


CODE = """
import json, numpy as np
from tests.models.explaining.test_integrated_gradients import *
spec = next(spec for spec in INPUTS if spec.kind == "text")
model = build_model({"family": "text"}, {"given": spec}, Outputs(3, "softmax"), 1)
found = explain(model, {"given": values(spec)[:4]}, {"given": spec})
print(json.dumps([float(abs(found.gaps).max()), float(abs(found.predictions - found.baselines).max())]))
"""


@pytest.mark.slow  # a process of its own, in which JAX compiles
def test_they_are_complete_on_jax_as_well() -> None:
    gap, difference = printed_on("jax", "-c", CODE)
    assert gap < 0.02 * difference
