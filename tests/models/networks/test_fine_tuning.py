"""A training that begins with the weights of another: what is handed on, what stays, what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.fine_tuning import WarmStart, warm_start
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

# Keras' own, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)
SPECS = {"x": InputSpec((4,), "float32", "numeric")}
MODEL = {"family": "mlp", "hidden": [6, 5], "batch_norm": True}


def made_of(encoder: str = "array", **content: Any) -> dict[str, Any]:
    """Transforms as they are kept."""
    return {"inputs": [{"name": "x", "encoder": encoder, "content": content}]}


def trained(model: Any, classes: int) -> Any:
    y = np.minimum(Y, classes - 1)
    training = {"epochs": 2, "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    fit(model, ({"x": X}, y), None, training, task="classification", classes=range(classes), seed=1)
    return model


def built(classes: int, seed: int = 2, **options: Any) -> Any:
    return build_model({**MODEL, **options}, SPECS, outputs_for("classification", classes, 0), seed)


@pytest.fixture
def start(tmp_path: Path) -> WarmStart:
    trained(built(3, seed=1), 3).save(tmp_path / "model.keras", include_optimizer=False)
    return WarmStart("early-1", tmp_path / "model.keras", made_of())


def layers(model: Any) -> list[list[np.ndarray]]:
    return [layer.get_weights() for layer in model.layers if layer.weights]


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def frozen(start: WarmStart, *patterns: str) -> WarmStart:
    return WarmStart(start.run, start.keras, start.transforms, patterns)


def names(start: WarmStart) -> list[str]:
    import keras

    return [layer.name for layer in keras.models.load_model(start.keras).layers if layer.weights]


def test_weights_are_handed_on_and_another_last_layer_begins_anew(start: WarmStart) -> None:
    same, other, fresh = built(3), built(2), layers(built(2))
    warm_start(same, start, made_of())
    warm_start(other, start, made_of())
    for one, two in zip(layers(same)[:-1], layers(other)[:-1], strict=True):
        assert equal(one, two)
    assert not equal(layers(same)[0], fresh[0]) and equal(layers(other)[-1], fresh[-1])


def test_frozen_layers_stay_as_they_are_to_the_byte(start: WarmStart) -> None:
    """The statistics of a frozen normalisation too."""
    first, second, *_ = known = names(start)
    assert second.startswith("batch_normalization") and len(known) == 5
    model = built(2)
    assert warm_start(model, frozen(start, first, "batch_norm*"), made_of()) == sorted(
        name for name in known if name == first or name.startswith("batch_norm")
    )
    before = layers(model)
    after = layers(trained(model, 2))
    kept = [equal(one, two) for one, two in zip(before, after, strict=True)]
    assert kept == [True, True, False, True, False]


def test_what_does_not_fit_is_named(start: WarmStart) -> None:
    with pytest.raises(
        OptionsError, match=r"run early-1, whose layers do not fit: '.*dense.*' has \[\(6, 5\)\]"
    ):
        warm_start(built(2, hidden=[6, 9]), start, made_of())
    with pytest.raises(OptionsError, match=r"it has 5 layers with weights and this model 3"):
        warm_start(built(2, hidden=[6]), start, made_of())


def test_a_pattern_that_is_no_layers_and_one_that_is_all_are_refused(start: WarmStart) -> None:
    with pytest.raises(
        OptionsError, match=r"'model.freeze' has 'conv\*', which matches no layer.*expected one of: .*dense"
    ):
        warm_start(built(2), frozen(start, "conv*"), made_of())
    with pytest.raises(OptionsError, match=r"freezes all weights"):
        warm_start(built(3), frozen(start, "*"), made_of())
    assert "output" not in warm_start(built(2), frozen(start, "*"), made_of())


def test_words_and_features_must_mean_the_same(start: WarmStart) -> None:
    earlier = WarmStart("early-1", start.keras, made_of("text", words=["good", "bad"]))
    warm_start(built(2), earlier, made_of("text", words=["good", "bad"]))
    with pytest.raises(OptionsError, match=r"the words of input 'x' differ in its data"):
        warm_start(built(2), earlier, made_of("text", words=["bad", "good"]))
    with pytest.raises(OptionsError, match=r"whose inputs are x, without input 'x' \(array\)"):
        warm_start(built(2), earlier, made_of())


def test_a_file_of_weights_is_for_the_same_layers(tmp_path: Path) -> None:
    earlier = trained(built(3, seed=1), 3)
    earlier.save_weights(tmp_path / "own.weights.h5")
    start, model = WarmStart("own.weights.h5", tmp_path / "own.weights.h5", None, ["dense*"]), built(3)
    assert warm_start(model, start, made_of())
    assert all(equal(one, two) for one, two in zip(layers(model), layers(earlier), strict=True))
    with pytest.raises(OptionsError, match=r"'model.from' is own.weights.h5, whose weights do not fit"):
        warm_start(built(2), start, made_of())


def test_what_the_inputs_of_a_file_of_others_meant_is_not_asked(start: WarmStart) -> None:
    foreign, model = WarmStart("theirs.keras", start.keras, None), built(3)
    warm_start(model, foreign, made_of("text", words=["a"]))
    with pytest.raises(OptionsError, match=r"'model.from' is theirs.keras, whose layers do not fit"):
        warm_start(built(3, hidden=[6]), foreign, made_of())
