"""A `.keras` file and a SavedModel of the same model: loaded by their inputs' names, and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest

from tidegate.models.errors import UserModelError
from tidegate.models.imported.keras_model import inputs_of_keras, load_keras
from tidegate.models.imported.saved_model import SavedModel
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.raw_inputs import ModelInput
from tidegate.serving.untrusted import check_model
from tidegate.serving.untrusted.saved_model import check_saved_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
ROWS = {
    "width": np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32),
    "age": np.arange(5, dtype=np.float32)[:, None],
}


class Saved(NamedTuple):
    """A model in both formats, and its answers to ROWS."""

    keras: Path
    folder: Path
    answers: np.ndarray


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    import keras

    folder = tmp_path_factory.mktemp("saved")
    keras.utils.set_random_seed(3)
    # The inputs are a list, in an order that is not that of their names.
    inputs = [keras.Input((2,), name="width"), keras.Input((1,), name="age")]
    normal = keras.layers.Rescaling(0.5, offset=-1.0)(inputs[1])
    hidden = keras.layers.Dense(4, "relu")(keras.layers.Concatenate()([inputs[0], normal]))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden))
    model.save(folder / "model.keras")
    model.export(folder / "saved", verbose=False)
    answers = keras.ops.convert_to_numpy(model([ROWS["width"], ROWS["age"]]))
    return Saved(folder / "model.keras", folder / "saved", answers)


def test_a_keras_files_inputs_are_taken_by_name(saved: Saved) -> None:
    check_model("tensorflow", saved.keras)
    model = load_keras(saved.keras, {})
    assert {one.name: one for one in inputs_of_keras(model)} == {
        "width": ModelInput("width", (2,), "float32"),
        "age": ModelInput("age", (1,), "float32"),
    }
    np.testing.assert_array_equal(predict(model, dict(reversed(ROWS.items()))), saved.answers)


def test_a_saved_model_answers_and_its_export_too(saved: Saved, tmp_path: Path) -> None:
    check_saved_model(saved.folder)
    model = SavedModel(saved.folder)
    assert {one.name: one.shape for one in model.inputs} == {"width": (2,), "age": (1,)}
    np.testing.assert_allclose(model.run(ROWS), saved.answers, atol=1e-6)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, ROWS)
    np.testing.assert_allclose(answers, saved.answers, atol=1e-6)


def test_a_subclassed_models_input_is_known_from_its_build(tmp_path: Path) -> None:
    import keras

    class Doubled(keras.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.last = keras.layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return 2 * self.last(inputs)

        def get_config(self) -> dict[str, Any]:
            return {}

    model = Doubled()
    answers = keras.ops.convert_to_numpy(model(ROWS["width"]))
    model.save(tmp_path / "model.keras")
    with pytest.raises(UserModelError, match=r"if it has classes of yours, .* as model.file"):
        load_keras(tmp_path / "model.keras", {})
    loaded = load_keras(tmp_path / "model.keras", {"Doubled": Doubled})
    assert inputs_of_keras(loaded) == [ModelInput("input", (2,), "float32")]
    np.testing.assert_allclose(predict(loaded, {"input": ROWS["width"]}), answers, atol=1e-6)


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    import keras

    given = keras.Input((2,))
    layer = keras.layers.Dense(1)
    keras.Model(given, [layer(given), layer(2 * given)]).save(tmp_path / "two.keras")
    with pytest.raises(UserModelError, match=r"two.keras has 2 outputs, of shapes .*; expected one"):
        load_keras(tmp_path / "two.keras", {})
