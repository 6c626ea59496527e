"""Mistakes in an experiment file say what was received, what was expected, and a fix, at the key as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.models.errors import ModelsError
from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.errors import ExperimentError, PipelineError
from tidegate.pipelines.experiment.load import load_experiment, validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.state.home import Home

SEARCH = {"method": "random", "trials": 4, "space": {"training.epochs": [1, 2]}}
ROWS = {"source": "x.csv", "target": {"name": "y"}, "stream": True}
MASKS = {"source": "x.npz", "target": {"name": "y", "kind": "mask"}}
FORECAST = {"source": "x.csv", "target": {"name": "y"}, "forecast": {"past": 2, "horizon": 1}}
RANGE = {"low": 0.1, "high": 0.2}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def told(values: dict[str, Any]) -> str:
    with pytest.raises(ExperimentError) as raised:
        load_experiment("digits", values)
    return str(raised.value).partition(": ")[2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("search.pack", 0, "received int 0; expected a number of at least 1, or 'auto'; correct it"),
        ("serving.processes", 0, "received int 0; expected 'auto', or a number of at least 1; correct it"),
        ("serving.processes", 65, "received int 65; expected 'auto', or a number of at most 64; correct it"),
        ("serving.processes", "many", "received str 'many'; expected 'auto', or a whole number; correct it"),
        ("training.batch_size", 62.5, "received float 62.5; expected a whole number; correct it"),
        (
            "training.checkpoint.every",
            0,
            "received int 0; expected a number of at least 1, or a text; correct it",
        ),
        (
            "data.split.validation",
            1.5,
            "received float 1.5; expected a number below 1, or a text; correct it",
        ),
        ("data.stream", "yes!", "received str 'yes!'; expected true or false, or 'auto'; correct it"),
        (
            "search.pruning",
            "asha",
            "received str 'asha'; expected a mapping with keys of: rule, warmup_epochs, minimum_trials, min_epochs, "
            "reduction_factor; write pruning: {rule: asha}",
        ),
        (
            "training.early_stopping",
            True,
            "received bool True; expected a mapping with keys of: patience, monitor, min_delta, restore_best; correct "
            "it",
        ),
    ],
)
def test_one_sentence_a_key(key: str, value: Any, message: str) -> None:
    assert told({"search": SEARCH, key: value}) == f"{key}: {message}"


def test_the_place_of_a_value_is_the_one_that_was_written() -> None:
    schedule = {"name": "cosine", "warmup_epochs": "few"}
    assert told({"training.learning_rate_schedule": schedule}).startswith(
        "training.learning_rate_schedule.warmup_epochs: received str 'few'; expected a whole number"
    )
    gate = {"metric": "test_accuracy", "minimum": "high"}
    assert told({"gate": gate}).startswith("gate.minimum: received str 'high'; expected a number")


NUMBERS = ("integer", "number")


def numbers(schema: dict[str, Any], part: dict[str, Any], key: str = "") -> Iterator[str]:
    """The dotted keys of numbers in a JSON schema that are reached by mappings alone."""
    forms = [part, *part.get("anyOf", ())]
    for form in forms:
        if form.get("type") in NUMBERS:
            yield key
        inner = schema["$defs"][form["$ref"].rpartition("/")[2]] if "$ref" in form else form
        for name, beside in inner.get("properties", {}).items():
            yield from numbers(schema, beside, f"{key}.{name}".lstrip("."))


def test_a_truth_is_no_number() -> None:
    schema = Experiment.model_json_schema()
    keys = sorted(set(numbers(schema, {"properties": schema["properties"]})))
    assert len(keys) > 40
    for key in keys:
        rule = "median" if key.endswith(("warmup_epochs", "minimum_trials")) else "asha"
        data = (
            FORECAST if key.startswith("data.forecast.") else MASKS if key == "data.target.ignore" else ROWS
        )
        values = {"data": data, "search": {**SEARCH, "pruning": {"rule": rule}}, key: True}
        if key.startswith("serving.rate_limit."):  # of those who say who they are
            values["serving.keys"] = "askers"
        if key == "gate.approval":  # an entry of its own
            values = {"gate": {"approval": True}}
        text = told(values)
        assert f"{key}: received bool True; expected a" in text, key


def test_a_truth_in_a_list_and_of_an_output_is_no_number() -> None:
    assert "serving.canary.steps.0: received bool True; expected a whole number" in told(
        {"serving.canary": {"steps": [True, 10]}}
    )
    outputs = {"a": {"weight": True}, "b": {}}
    document = {"name": "a", "data": {"source": "x.csv", "target": outputs}, "model": {"family": "mlp"}}
    with pytest.raises(
        ExperimentError, match=r"training\.outputs\.a\.weight: received bool True; expected a number"
    ):
        validate(document, "here")


def test_a_truth_stays_one_where_it_may_be() -> None:
    model = {"trained": "./m.onnx", "classes": [True, False]}
    experiment = validate({"name": "a", "data": {"dataset": "wine"}, "model": model}, "here")
    assert experiment.model.classes == [True, False]
    assert load_experiment("digits", {"data": ROWS}).data.stream is True


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"training.optimizer": ["sgd", "adam"], "training.optimizer.momentum": RANGE | {"when": "sgd"}},
            "option 'search.space.training.optimizer.momentum.when' is 'sgd'; expected another searched key",
        ),
        (
            {"training.optimizer": ["sgd", "adam"], "training.optimizer.momentum": RANGE | {"when": {}}},
            "such as {training.optimizer: sgd}; write it so, or leave when out",
        ),
        (
            {"training.optimizer": ["sgd", "adam"], "training.optimizer.momentum": RANGE},
            "search.space.training.optimizer.momentum: optimizer 'adam' has no option 'momentum', and "
            "training.optimizer is 'adam' in some trials; expected that it is searched only where there is one; add "
            "`when: {training.optimizer: …}` with the values that have it",
        ),
        (
            {"training.optimizer.name": ["sgd", "adam"], "training.optimizer.momentum": RANGE},
            "optimizer 'adam' has no option 'momentum', and training.optimizer.name is 'adam' in some trials",
        ),
        (
            {"model.family": ["mlp", "linear"], "model.hidden": [[8], [16]]},
            "search.space.model.hidden: model has no option 'hidden', and model.family is 'linear'",
        ),
        (
            {"training.optimizer.momentum": RANGE},
            "search.space.training.optimizer.momentum: unknown option 'momentum' of optimizer 'adam'; expected one of",
        ),
        (
            {"training.batch_size": {"low": 1.0, "high": 64.0}},
            "low, high and step of training.batch_size are not all",
        ),
        ({"model.dropout": [True]}, "option 'model.dropout' is True; expected a number below 1"),
        ({"model.hidden": [[True], [8]]}, "option 'model.hidden.0' is True; expected a whole number"),
        (
            {"training.batch_size": [True, 8]},
            "training.batch_size: received bool True; expected a whole number",
        ),
    ],
)
def test_a_search_space(space: dict[str, Any], message: str, home: Home) -> None:
    experiment = load_experiment("digits", {"model": {"family": "mlp"}, "search": {**SEARCH, "space": space}})
    with pytest.raises((PipelineError, ModelsError)) as raised:
        check(experiment, home)
    assert message in str(raised.value)


def test_a_search_of_an_option_where_it_exists(home: Home) -> None:
    momentum = RANGE | {"when": {"training.optimizer.name": "sgd"}}
    space = {"training.optimizer.name": ["sgd", "adam"], "training.optimizer.momentum": momentum}
    check(load_experiment("digits", {"search": {**SEARCH, "space": space}}), home)
