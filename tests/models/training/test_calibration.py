"""The temperature: found where it is known, in the weights that are exported, and refused where nothing tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.metrics import calibration_error, cross_entropy, to_predictions
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.calibration import calibrate, fit_temperature
from tidegate.models.training.fit import fit

# Keras' own, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SPECS = {"x": InputSpec((5,), "float32", "numeric")}


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 6])
def test_a_known_temperature_is_found(temperature: float, classes: int) -> None:
    """Classes are drawn from softmax(z / T): largest of z / T with Gumbel noise (Gumbel, 1954)."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (40_000, classes))
    truth = (logits / temperature + random.gumbel(size=logits.shape)).argmax(axis=1)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.03)
    if classes == 2:
        assert fit_temperature(logits[:, 1:] - logits[:, :1], truth) == pytest.approx(found, rel=1e-6)


def noisy(loss: str | None) -> tuple[Any, str, np.ndarray, np.ndarray]:
    """A network that has learned 80 rows by heart, a third of their classes being wrong."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1200, 5)).astype(np.float32)
    y = np.where(random.random(1200) < 0.33, random.integers(0, 2, 1200), x[:, 0] > 0).astype(np.int64)
    outputs = outputs_for("classification", 2, 0, loss)
    model = build_model({"family": "mlp", "hidden": [64]}, SPECS, outputs, 1)
    training = {"epochs": 150, "loss": loss, "optimizer": {"name": "adam", "learning_rate": 0.02}}
    fit(model, ({"x": x[:80]}, y[:80]), None, training, task="classification", classes=(0, 1), seed=1)
    return model, outputs.activation, x[80:], y[80:]


@pytest.mark.parametrize("loss", [None, "binary_crossentropy"])
def test_an_overconfident_network_becomes_as_sure_as_it_is_right(loss: str | None, tmp_path: Path) -> None:
    model, activation, x, y = noisy(loss)
    before = to_predictions(predict(model, {"x": x[560:]}), activation)
    temperature = calibrate(model, {"x": x[:560]}, y[:560])
    after = to_predictions(predict(model, {"x": x[560:]}), activation)
    assert temperature is not None and temperature > 1.5
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert calibration_error(y[560:], after) < 0.5 * calibration_error(y[560:], before)
    assert cross_entropy(y[560:], after.astype(np.float64)) < cross_entropy(
        y[560:], before.astype(np.float64)
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_predictions(predict(again, {"x": x[560:]}), activation), after)
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    served = to_predictions(session.run(None, {"x": x[560:]})[0], activation)
    np.testing.assert_allclose(served, after, atol=1e-6)


def test_rows_that_are_all_right_or_no_better_than_chance_tell_none() -> None:
    truth = np.array([0, 1, 2, 1])
    right = np.eye(3)[truth] * 4.0
    assert fit_temperature(right, truth) is None
    assert fit_temperature(-right, truth) is None


def test_a_network_on_its_own_inputs_is_calibrated_as_well() -> None:
    """A Sequential that was called on the inputs, which a user's build() may return."""
    inner = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(3, activation="softmax")])
    tensor = keras.Input((5,), name="x")
    model = keras.Model({"x": tensor}, inner(tensor))
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 5)).astype(np.float32)
    before = predict(model, {"x": x})
    sure = before**3 / (before**3).sum(axis=1, keepdims=True)  # the right answers are those of T = 1 / 3
    truth = (np.log(sure) + random.gumbel(size=sure.shape)).argmax(axis=1)
    temperature = calibrate(model, {"x": x}, truth)
    assert temperature is not None
    expected = before ** (1 / temperature)
    np.testing.assert_allclose(
        predict(model, {"x": x}), expected / expected.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_what_can_not_be_calibrated_is_told() -> None:
    tensor = keras.Input((5,), name="x")
    answer = keras.layers.Activation("softmax", name="last")(keras.layers.Dense(2, "relu")(tensor))
    model = keras.Model({"x": tensor}, answer)
    x = np.zeros((4, 5), np.float32)
    with pytest.raises(
        OptionsError, match=r"ends with layer 'last' \(Activation softmax\); expected a Dense"
    ):
        calibrate(model, {"x": x}, np.zeros(4, np.int64))
    with pytest.raises(OptionsError, match=r"there are no validation rows; .*fitted on them"):
        calibrate(model, {"x": x[:0]}, np.zeros(0, np.int64))
