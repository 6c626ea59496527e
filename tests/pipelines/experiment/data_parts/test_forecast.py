"""`data.forecast` in the experiment file: what contradicts it is refused before any data is read."""

from typing import Any

import pytest

from tidegate.pipelines.experiment.spec import Experiment

FORECAST = {"past": 4, "horizon": 2}


def _experiment(forecast: dict[str, Any], **data: Any) -> Experiment:
    given = {"source": "./a.csv", "target": "sold", "forecast": {**FORECAST, **forecast}, **data}
    return Experiment.model_validate({"name": "a", "data": given, "model": {"family": "tide"}})


def test_a_series_is_a_task_of_its_own() -> None:
    found = _experiment({})
    assert found.data.stated_task == "forecasting" and found.data.forecast is not None
    assert found.data.forecast.quantiles == [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("forecast", "data", "said"),
    [
        ({"quantiles": [0.1, 0.9]}, {}, "expected 0.5 among them"),
        ({"quantiles": [0.5, 0.1]}, {}, "expected each once, ascending"),
        ({"quantiles": [0.5, 1.0]}, {}, "less than 1"),
        ({"known": ["a", "a"]}, {}, "expected each once"),
        ({"horison": 3}, {}, "horison"),
        ({}, {"task": "regression"}, "task is regression, which a forecast has not"),
        ({}, {"weight": "w"}, "weight is w, which a forecast has not"),
        ({}, {"split": {"group": "shop"}}, "split.group is shop"),
        ({}, {"test": "./test.csv"}, "split.test is ./test.csv"),
        ({}, {"stream": True}, "stream is True"),
        ({}, {"target": {"name": "sold", "kind": "text"}}, "target sold is text"),
    ],
)
def test_what_contradicts_it_is_named(forecast: dict[str, Any], data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _experiment(forecast, **data)
