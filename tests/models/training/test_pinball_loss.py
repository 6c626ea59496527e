"""The pinball loss as Keras learns it, and that its quantiles come from the data."""

import numpy as np
import pytest
from keras import losses

from tidegate.models.config.losses import loss_named
from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.forecast_metrics import pinball as measured
from tidegate.models.preprocessing.schema import Target
from tidegate.models.training.measures.loss_functions import loss_function
from tidegate.models.training.measures.pinball_loss import with_quantiles

LEVELS = (0.1, 0.5, 0.9)
TARGET = Target(names=("y",), task="forecasting", shape=(4,), quantiles=LEVELS)


def test_it_is_the_measured_one() -> None:
    random = np.random.default_rng(0)
    truth, answers = random.normal(size=(5, 4)), random.normal(size=(5, 4, 3))
    training = with_quantiles({"loss": None, "epochs": 1}, TARGET)
    assert training == {"loss": {"name": "pinball", "quantiles": list(LEVELS)}, "epochs": 1}
    loss = loss_function(loss_named(training["loss"], "forecasting", 0))
    found = losses.get(loss)(truth.astype(np.float32), answers.reshape(5, 12).astype(np.float32))
    assert np.asarray(found).mean() == pytest.approx(measured(truth, answers, LEVELS), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ({"name": "pinball", "quantiles": [0.5]}, "its quantiles are those of data.forecast.quantiles"),
        ("mse", "does not fit a forecasting; expected one of: pinball"),
    ],
)
def test_another_loss_is_refused(loss: object, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        with_quantiles({"loss": loss}, TARGET)


def test_a_loss_of_ones_own_is_left_as_it_is() -> None:
    assert with_quantiles({"loss": "mine:loss"}, TARGET) == {"loss": "mine:loss"}
