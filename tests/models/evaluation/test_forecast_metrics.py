"""The metrics of forecasts by hand, and beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from tidegate.models.evaluation.targets import evaluate_target, interval_of
from tidegate.models.preprocessing.schema import Target

TARGET = Target(names=("y",), task="forecasting", shape=(2,), quantiles=(0.25, 0.5, 0.75), naive_error=4.0)


def test_by_hand() -> None:
    truth = np.array([[10.0, 20.0]])
    answers = np.array([[8, 12, 13, 21, 22, 23]], np.float32)  # the second step below its lowest quantile
    found = evaluate_target(TARGET, truth, answers)
    assert found.values == pytest.approx(
        {
            "pinball": (0.25 * 2 + 0.5 * 2 + 0.25 * 3 + 0.75 * 1 + 0.5 * 2 + 0.25 * 3) / 6,
            "loss": (0.25 * 2 + 0.5 * 2 + 0.25 * 3 + 0.75 * 1 + 0.5 * 2 + 0.25 * 3) / 6,
            "mae": 2.0,
            "mase": 0.5,
            "rmse": 2.0,
            "coverage": 0.5,
            "coverage_error": 0.0,
        }
    )


def test_pinball_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    truth, answers = random.normal(size=(30, 2)), random.normal(size=(30, 2, 3))
    each = [
        mean_pinball_loss(truth.ravel(), answers[:, :, place].ravel(), alpha=level)
        for place, level in enumerate(TARGET.quantiles or ())
    ]
    found = evaluate_target(TARGET, truth, answers.reshape(30, 6))
    assert found.values["pinball"] == pytest.approx(np.mean(each))


def test_what_is_undefined_has_a_reason() -> None:
    flat = TARGET.model_copy(update={"naive_error": None, "quantiles": (0.5,)})
    found = evaluate_target(flat, np.ones((3, 2)), np.ones((3, 2)))
    assert set(found.undefined) == {"mase", "coverage", "coverage_error"} and found.values["mae"] == 0


def test_two_models_are_compared() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(size=(200, 2))
    close, far = (np.repeat(truth + random.normal(size=(200, 2)) * scale, 3, axis=1) for scale in (0.1, 2.0))
    least, most = interval_of(TARGET, "mase", truth, (close, far), 0.95)
    assert least < most < 0
