"""Models from the experiment's `model:` part, and what is said when they cannot be built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate.models.errors import OptionsError, UnknownFamilyError, UserModelError
from tidegate.models.families.build import as_float32, build_model, check_model, precision_scope
from tidegate.models.networks.outputs import Outputs, outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec

SPECS = {"features": InputSpec((4,), "float32", "numeric", 0)}
THREE = Outputs(3, "softmax")
GOOD = """
import keras

def build(inputs, outputs, width=8):
    x = keras.layers.Dense(width, activation="relu")(inputs["features"])
    return keras.Model(inputs, outputs.layer(x))
"""


def written(folder: Path, code: str) -> dict[str, str]:
    path = folder / "my_model.py"
    path.write_text(code)
    return {"file": str(path)}


def test_outputs_follow_from_task_and_loss() -> None:
    assert outputs_for("classification", 3, 0) == Outputs(3, "softmax")
    assert outputs_for("classification", 2, 0) == Outputs(2, "softmax")
    assert outputs_for("classification", 2, 0, "binary_crossentropy") == Outputs(1, "sigmoid")
    assert outputs_for("regression", 0, 2, {"name": "huber", "delta": 2.0}) == Outputs(2, "linear")


def test_the_same_seed_gives_the_same_first_weights() -> None:
    first, again, other = (build_model({"family": "mlp"}, SPECS, THREE, seed) for seed in (1, 1, 2))
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_mixed_precision_is_the_models_own_and_its_outputs_stay_float32() -> None:
    import keras

    model = build_model({"family": "mlp"}, SPECS, THREE, 1, precision="mixed_bfloat16")
    assert model.outputs[0].dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers if layer.name.startswith("dense")} == {"bfloat16"}
    assert keras.config.dtype_policy().name == "float32"
    twin = as_float32(model, {"family": "mlp"}, SPECS, THREE)
    rows = {"features": np.random.default_rng(0).random((3, 4), dtype=np.float32)}
    assert {layer.compute_dtype for layer in twin.layers} == {"float32"} and as_float32(
        twin, {}, {}, THREE
    ) is twin
    np.testing.assert_allclose(predict(twin, rows), predict(model, rows), atol=0.01)


def test_float64_is_all_of_a_training_and_what_is_served_is_float32() -> None:
    import keras

    with precision_scope("float64"):
        model = build_model({"family": "mlp"}, SPECS, THREE, 1, precision="float64")
        assert keras.config.floatx() == keras.config.dtype_policy().name == "float64"
    assert keras.config.floatx() == keras.config.dtype_policy().name == model.inputs[0].dtype == "float32"
    assert {array.dtype for array in model.get_weights()} == {np.dtype("float64")}
    twin = as_float32(model, {"family": "mlp"}, SPECS, THREE)
    assert {array.dtype for array in twin.get_weights()} == {np.dtype("float32")}
    rows = {"features": np.random.default_rng(0).random((3, 4), dtype=np.float32)}
    np.testing.assert_allclose(predict(twin, rows), predict(model, rows), atol=1e-6)


def test_a_users_file_is_built_with_its_options(tmp_path: Path) -> None:
    model = build_model({**written(tmp_path, GOOD), "width": 5}, SPECS, THREE, 1)
    assert model.layers[1].units == 5
    assert predict(model, {"features": np.zeros((2, 4), np.float32)}).shape == (2, 3)


def test_a_users_sequential_is_called_on_the_inputs(tmp_path: Path) -> None:
    code = "import keras\ndef build(inputs, outputs):\n    return keras.Sequential([keras.layers.Dense(3)])\n"
    model = build_model(written(tmp_path, code), SPECS, THREE, 1)
    assert [tensor.name for tensor in model.inputs] == ["features"]


def test_a_users_text_input_knows_its_vocabulary(tmp_path: Path) -> None:
    code = (
        "import keras\ndef build(inputs, outputs):\n"
        "    x = keras.layers.Embedding(inputs['review'].vocabulary, 4)(inputs['review'])\n"
        "    return keras.Model(inputs, outputs.layer(keras.layers.Flatten()(x)))\n"
    )
    model = build_model(written(tmp_path, code), {"review": InputSpec((6,), "int32", "text", 30)}, THREE, 1)
    assert model.layers[1].input_dim == 30


WRONG_FILES = {
    "syntax error": ("def build(inputs, outputs)\n    pass\n", ":1: syntax error"),
    "raises on import": ("x = 1\ny = x / 0\n", ":2: importing the file raised ZeroDivisionError"),
    "exits": ("import sys\nsys.exit(3)\n", ":2: importing the file raised SystemExit: 3"),
    "imports what is not there": ("import no_such_package\n", ":1: importing the file raised ModuleNotFound"),
    "no build": ("def biuld(inputs, outputs):\n    pass\n", "the file defines biuld and no function build"),
    "too few arguments": ("def build(inputs):\n    pass\n", ":1: build takes ['inputs']; expected def build"),
    "build raises": (
        "def build(inputs, outputs):\n    return inputs['x']\n",
        ":2: build() raised UnknownInputError: 'x' is not ",
    ),
    "a layer raises": (
        "import keras\ndef build(inputs, outputs):\n    x = inputs['features']\n"
        "    return keras.layers.Conv2D(3, 3)(x)\n",
        ":4: build() raised ValueError: Input 0",
    ),
    "not a model": (
        "def build(inputs, outputs):\n    return 5\n",
        ":1: build returned a int (5); expected a keras",
    ),
    "a tensor": (
        "def build(inputs, outputs):\n    return outputs.layer(inputs['features'])\n",
        "build returned a KerasTensor of shape (None, 3); expected a keras.Model",
    ),
    "wrong shape": (
        "import keras\ndef build(inputs, outputs):\n"
        "    return keras.Model(inputs, keras.layers.Dense(7)(inputs['features']))\n",
        ":2: build returned a model with output shape (None, 7); expected one output of shape (None, 3)",
    ),
    "wrong inputs": (
        "import keras\ndef build(inputs, outputs):\n    return keras.Sequential([keras.layers.GRU(3)])\n",
        "does not take the inputs {'features': (None, 4)}",
    ),
    "lambda": (
        "import keras\ndef build(inputs, outputs):\n    x = inputs['features']\n"
        "    x = keras.layers.Lambda(lambda t: t * 2)(x)\n    return keras.Model(inputs, outputs.layer(x))\n",
        "Lambda layer 'lambda'",
    ),
    "own fit in a functional": (
        "import keras\nclass Mine(keras.Model):\n    def fit(self, *rows):\n        pass\n\n"
        "def build(inputs, outputs):\n    return Mine(inputs, outputs.layer(inputs['features']))\n",
        ":3: class Mine has its own fit, which would not be used",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_user_file_is_told_with_file_and_line(case: str, tmp_path: Path) -> None:
    code, said = WRONG_FILES[case]
    model = written(tmp_path, code)
    with pytest.raises(UserModelError) as caught:
        build_model(model, SPECS, THREE, 1)
    assert model["file"] in str(caught.value)
    assert said in str(caught.value)


def test_options_of_a_users_build_are_checked(tmp_path: Path) -> None:
    model = written(tmp_path, GOOD)
    with pytest.raises(
        OptionsError,
        match=r"my_model.py:4: build has no option 'widht'; expected one of: .*; did you mean 'width'",
    ):
        build_model({**model, "widht": 5}, SPECS, THREE, 1)
    model = written(tmp_path, GOOD.replace("width=8", "width"))
    with pytest.raises(OptionsError, match=r"build needs the option 'width'"):
        build_model(model, SPECS, THREE, 1)


def test_labels_of_tokens_belong_to_one_text_alone(tmp_path: Path) -> None:
    code = """
import keras

def build(inputs, outputs):
    x = keras.layers.Embedding(inputs["words"].vocabulary, 4)(inputs["words"])
    return keras.Model(inputs, outputs.layer(x))
"""
    specs = {name: InputSpec((6,), "int64", "text", 9) for name in ("title", "words")}
    labelled = outputs_for("tagging", 4, 0, shape=(6,))
    with pytest.raises(
        OptionsError, match=r"'title' and 'words' are texts of 6 tokens.*state another length"
    ):
        build_model(written(tmp_path, code), specs, labelled, seed=0)
    specs["title"] = InputSpec((5,), "int64", "text", 9)
    model = build_model(written(tmp_path, code), specs, labelled, seed=0)
    answered = predict(model, {"title": np.ones((1, 5), np.int64), "words": np.array([[3, 1, 0, 0, 0, 0]])})
    assert answered[0, :, 0].tolist() == [0, 0, 1, 1, 1, 1]


def test_a_missing_file_and_an_unknown_family_are_named() -> None:
    with pytest.raises(UserModelError, match=r"model file none.py does not exist"):
        check_model({"file": "none.py"})
    with pytest.raises(
        UnknownFamilyError, match=r"unknown model family 'mpl'; expected .*; did you mean 'mlp'"
    ):
        check_model({"family": "mpl"})
    with pytest.raises(OptionsError, match=r"expected exactly one of"):
        check_model({"hidden": [3]})
