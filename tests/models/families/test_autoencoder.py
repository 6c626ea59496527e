"""The autoencoder: its code is narrower than what it is given, and the score behind it is its error."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.heads.anomaly_score import with_score
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec


def built(shape: tuple[int, ...], **options: Any) -> Any:
    specs = {"given": InputSpec(shape, "float32", "image" if len(shape) == 3 else "numeric")}
    numbers = int(np.prod(shape))
    return build_model(
        {"family": "autoencoder", **options}, specs, Outputs(numbers, "linear", shape=shape), 1
    )


def widths(model: Any) -> list[int]:
    return [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def test_layers_are_mirrored_around_the_code() -> None:
    assert widths(built((12,), hidden=[32, 16], code=2)) == [32, 16, 2, 16, 32, 12]


@pytest.mark.parametrize(("shape", "code"), [((2,), 1), ((64,), 16), ((8, 8, 1), 16)])
def test_a_code_that_is_not_stated_is_a_quarter_of_the_numbers(shape: tuple[int, ...], code: int) -> None:
    assert widths(built(shape, hidden=[8]))[1] == code


def test_a_code_as_wide_as_the_input_learns_nothing() -> None:
    with pytest.raises(
        OptionsError, match=r"'model.code' is 4, and a row of given has 4 numbers; expected fewer"
    ):
        built((4,), code=4)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (8, 8, 1)])
def test_the_score_is_the_mean_squared_error_of_a_row(shape: tuple[int, ...]) -> None:
    model = built(shape, hidden=[8], code=2)
    rows = {"given": np.random.default_rng(0).random((6, *shape), np.float32)}
    apart = (predict(model, rows).reshape(6, -1) - rows["given"].reshape(6, -1)) ** 2
    scored = predict(with_score(model), rows)
    assert scored.shape == (6, 1) and scored.dtype == np.float32
    np.testing.assert_allclose(scored[:, 0], apart.mean(axis=1), rtol=1e-5)


def test_the_farthest_row_has_a_score_too() -> None:
    """Its square is no finite float32, and a row of such a number is what somebody wants to hear of."""
    rows = {"given": np.array([[0, 0, 0, 0], [3e38, 0, 0, 0], [-3e38, 3e38, 0, 0]], np.float32)}
    scored = predict(with_score(built((4,), code=2)), rows)[:, 0]
    assert np.isfinite(scored).all()
    assert scored[0] < 1e3 and scored[1] == scored[2] == np.float32(3.4e38)


def test_a_model_that_does_not_answer_its_input_has_no_score() -> None:
    one, two = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    with pytest.raises(OptionsError, match="the model has 2 inputs and 1 outputs"):
        with_score(keras.Model([one, two], keras.layers.Add()([one, two])))
