"""A user's model that ends in logits is trained as Keras trains it, and answers probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import OptionsError, UserModelError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.calibration import calibrate
from tidegate.models.training.fit import fit

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
SPECS = {"x": InputSpec((4,), "float32", "numeric", 0)}
CODE = "import keras\n\ndef build(inputs, outputs):\n    x = inputs['x']\n    return {}\n"
DENSE = "keras.Model(inputs, keras.layers.Dense(outputs.units)(x))"
ENDS = {
    "functional": DENSE,
    "sequential": "keras.Sequential([keras.layers.Dense(outputs.units)])",
    "outputs.layer": "keras.Model(inputs, outputs.layer(x))",
    "a family": "",
}


def built(folder: Path, end: str, loss: Any) -> Any:
    (folder / "my_model.py").write_text(CODE.format(end))
    model = {"file": str(folder / "my_model.py")} if end else {"family": "linear"}
    return build_model(model, SPECS, outputs_for("classification", 2, 0, loss), 1)


@pytest.mark.parametrize(
    ("end", "name"),
    [
        *((end, "sparse_categorical_crossentropy") for end in ENDS),
        ("functional", "categorical_crossentropy"),
        ("functional", "binary_crossentropy"),
    ],
)
def test_logits_are_trained_as_by_keras_and_answered_as_probabilities(
    end: str, name: str, tmp_path: Path
) -> None:
    import keras

    loss, sgd = {"name": name, "from_logits": True}, {"name": "sgd", "learning_rate": 0.5}
    model = built(tmp_path, ENDS[end], loss)
    units = model.outputs[0].shape[-1]
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    plain.set_weights(model.get_weights())
    training = {"epochs": 1, "batch_size": 64, "loss": loss, "optimizer": sgd, "xla": False}
    history = fit(model, ({"x": X}, Y), None, training, task="classification", classes=("a", "b"), seed=1)
    kind = "".join(part.capitalize() for part in name.split("_"))
    plain.compile(keras.optimizers.SGD(0.5), getattr(keras.losses, kind)(from_logits=True))
    target = np.eye(2, dtype=np.float32)[Y] if name == "categorical_crossentropy" else Y.reshape(-1, 1)
    kept = plain.fit(X, target, batch_size=64, verbose=0)
    assert history.epochs[0]["loss"] == pytest.approx(kept.history["loss"][0], rel=1e-6)
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    answers, logits = predict(model, {"x": X}), plain(X).numpy()
    odds = np.exp(logits)
    expected = odds / (1 + odds) if units == 1 else odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_probabilities_behind_logits_are_calibrated(tmp_path: Path) -> None:
    model = built(tmp_path, DENSE, {"name": "sparse_categorical_crossentropy", "from_logits": True})
    before = predict(model, {"x": X})
    noisy = np.where(
        np.random.default_rng(1).random(64) < 0.3, 1 - before.argmax(axis=1), before.argmax(axis=1)
    )
    temperature = calibrate(model, {"x": X}, noisy.astype(np.int64))
    scaled = before ** (1 / temperature) if temperature else before
    np.testing.assert_allclose(
        predict(model, {"x": X}), scaled / scaled.sum(axis=1, keepdims=True), atol=1e-5
    )


@pytest.mark.parametrize(
    ("end", "from_logits", "words"),
    [
        (
            DENSE,
            False,
            "outputs are not probabilities: .* if they are logits, say so: training.loss: .*from_logits: true",
        ),
        (
            DENSE.replace("units", "units, activation='softmax'"),
            True,
            "ends with layer 'dense.*', a softmax, and",
        ),
        (
            "keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))",
            True,
            "ends with layer 'softmax.*', a softmax, and",
        ),
        (DENSE, "yes", "option 'from_logits' of loss 'sparse_categorical_crossentropy' is 'yes'"),
    ],
)
def test_what_is_not_as_the_loss_says_is_told_before_the_first_epoch(
    end: str, from_logits: Any, words: str, tmp_path: Path
) -> None:
    loss = {"name": "sparse_categorical_crossentropy", "from_logits": from_logits}
    told: dict[str, Any] = {"task": "classification", "classes": ("a", "b"), "seed": 1}
    with pytest.raises((UserModelError, OptionsError), match=words):
        fit(built(tmp_path, end, loss), ({"x": X}, Y), None, {"loss": loss}, **told)
