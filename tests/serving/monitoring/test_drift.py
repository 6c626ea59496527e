"""Drift: what training looked like is kept in the bundle, and what is asked is measured against it."""

import json
import math
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.forked import Server
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.serving.bundle.bundle import open_bundle, write_bundle
from tidegate.serving.bundle.drift_reference import (
    BINS,
    MAX_ROWS,
    Feature,
    evenly_spaced_rows,
    make_reference,
)
from tidegate.serving.contract.contract import Contract
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.handover import status
from tidegate.serving.inference.parity import describe
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.monitoring.drift import MIN_ROWS, WINDOW, Drift, population_stability_index
from tidegate.serving.monitoring.observer import Observation

SCHEMA = Schema(
    inputs=(
        Field(name="age", kind="numeric", dtype="float64"),
        Field(name="rooms", kind="numeric", dtype="int64"),
        Field(name="city", kind="categorical", dtype="str"),
        Field(name="words", kind="text", dtype="str"),
        Field(name="image", kind="image", dtype="uint8", shape=(4, 4)),
    ),
    target=Target(names=("sold",), task="classification", classes=("no", "yes")),
)
CONTRACT = Contract.of(SCHEMA, {"city": ["Oslo", "Rome"]})


def _rows(count: int, seed: int) -> Columns:
    random = np.random.default_rng(seed)
    ages = random.normal(40, 10, count)
    ages[random.random(count) < 0.05] = np.nan
    texts = np.empty(count, object)
    texts[:] = ["x" * length for length in random.integers(1, 80, count)]
    return {
        "age": ages,
        "rooms": random.integers(1, 6, count),
        "city": np.array(["Oslo", "Rome", None], object)[random.integers(0, 3, count)],
        "words": texts,
        "image": random.integers(0, 200, (count, 4, 4)).astype(np.uint8),
    }


def _answers(count: int, seed: int, yes: float = 0.3) -> Any:
    chance = np.where(np.random.default_rng(seed).random(count) < yes, 0.9, 0.1)
    return np.stack([1 - chance, chance], axis=1).astype(np.float32)


def _drift() -> Drift:
    return Drift(make_reference(CONTRACT, _rows(5000, 1), _answers(5000, 1)), CONTRACT, "homes", 3)


def _show(drift: Drift, columns: Columns, values: Any, size: int = 100) -> None:
    """As the endpoint shows it: request by request, a few at a time."""
    seen: list[Observation] = [
        (
            {name: column[start : start + size] for name, column in columns.items()},
            values[start : start + size],
        )
        for start in range(0, len(values), size)
    ]
    for start in range(0, len(seen), 20):
        drift(seen[start : start + 20])


def test_the_index_is_that_of_its_formula() -> None:
    expected, found = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
    by_hand = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.4 - 0.3) * math.log(0.4 / 0.3)
    assert population_stability_index(expected, found) == pytest.approx(by_hand)
    assert population_stability_index(found, expected) == pytest.approx(by_hand)
    assert population_stability_index(expected, expected) == 0


def test_the_reference_counts_every_training_row() -> None:
    reference = make_reference(CONTRACT, _rows(5000, 1), _answers(5000, 1))
    features = {feature.name: feature for feature in reference.features}
    assert all(sum(feature.counts) == 5000 for feature in (*reference.features, *reference.predictions))
    measures = {name: feature.measure for name, feature in features.items()}
    assert measures == {
        "age": "number",
        "rooms": "number",
        "city": "category",
        "words": "length",
        "image": "mean",
    }
    assert features["rooms"].edges == (1.5, 2.5, 3.5, 4.5)
    assert len(features["age"].edges) == BINS - 1
    assert features["city"].categories == ("Oslo", "Rome")
    assert features["age"].counts[-1] == int(np.isnan(_rows(5000, 1)["age"]).sum())
    (sold,) = reference.predictions
    assert (sold.name, sold.categories) == ("sold", ("no", "yes"))
    assert len(evenly_spaced_rows(_rows(50_001, 2), 50_001)["age"]) <= MAX_ROWS


def test_a_regression_has_a_feature_a_target() -> None:
    schema = SCHEMA.model_copy(update={"target": Target(names=("price", "tax"), task="regression")})
    values = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    reference = make_reference(Contract.of(schema, {}), _rows(300, 1), values)
    assert [feature.name for feature in reference.predictions] == ["price", "tax"]


def test_of_many_categories_the_most_frequent_are_told_apart() -> None:
    column = np.array([f"c{number}" for number in range(30) for _ in range(number + 1)], object)
    schema = SCHEMA.model_copy(update={"inputs": (Field(name="c", kind="categorical", dtype="str"),)})
    (feature,) = make_reference(Contract.of(schema, {}), {"c": column}, _answers(len(column), 1)).features
    assert feature.categories == tuple(sorted(f"c{number}" for number in range(21, 30)))
    assert feature.counts[-2:] == (231, 0)
    assert feature.count(np.array(["new", None, "c29"], object)).tolist()[-3:] == [1, 1, 1]


@pytest.mark.parametrize("training", [60, 150, 400])
def test_a_small_training_set_raises_no_false_alarm(training: int) -> None:
    reference = make_reference(CONTRACT, _rows(training, 1), _answers(training, 1))
    drift = Drift(reference, CONTRACT, "homes", 3)
    _show(drift, _rows(1000, 2), _answers(1000, 2))
    assert max(drift.index()["feature"].values()) < 0.25


def test_rows_like_those_of_training_have_not_moved() -> None:
    drift = _drift()
    _show(drift, _rows(MIN_ROWS - 1, 2), _answers(MIN_ROWS - 1, 2))
    assert drift.index() == {"feature": {}, "prediction": {}}
    _show(drift, _rows(3000, 3), _answers(3000, 3))
    found = drift.index()
    assert set(found["feature"]) == {"age", "rooms", "city", "words", "image"}
    assert max(*found["feature"].values(), *found["prediction"].values()) < 0.05


MOVES: dict[str, Callable[[Columns], Any]] = {
    "age": lambda rows: rows["age"] + 15,
    "rooms": lambda rows: np.where(rows["rooms"] < 3, 3, rows["rooms"]),
    "city": lambda rows: np.where(np.arange(len(rows["city"])) % 2 == 0, "Lima", rows["city"]),
    "words": lambda rows: np.array([text + "y" * 40 for text in rows["words"]], object),
    "image": lambda rows: rows["image"] // 2,
}


@pytest.mark.parametrize("name", MOVES)
def test_what_has_moved_is_named_and_nothing_else(name: str) -> None:
    drift, rows = _drift(), _rows(3000, 4)
    _show(drift, {**rows, name: MOVES[name](rows)}, _answers(3000, 4))
    features = drift.index()["feature"]
    assert features.pop(name) > 0.25
    assert max(features.values()) < 0.1


def test_missing_values_and_other_predictions_are_drift_too() -> None:
    drift, rows = _drift(), _rows(3000, 4)
    rows["age"][::3] = np.nan
    _show(drift, rows, _answers(3000, 4, yes=0.8))
    assert drift.index()["feature"]["age"] > 0.25
    assert drift.index()["prediction"]["sold"] > 0.25


def test_what_was_asked_long_ago_is_forgotten() -> None:
    drift, rows = _drift(), _rows(WINDOW, 5)
    _show(drift, {**rows, "age": rows["age"] + 30}, _answers(WINDOW, 5))
    assert drift.index()["feature"]["age"] > 1
    for seed in (6, 7):
        _show(drift, _rows(WINDOW, seed), _answers(WINDOW, seed))
    _show(drift, _rows(100, 8), _answers(100, 8))
    assert drift.rows == WINDOW + 100
    assert drift.index()["feature"]["age"] < 0.05
    assert drift.seen == 3 * WINDOW + 100


def test_more_rows_than_there_is_time_for_are_counted_not_read() -> None:
    drift, rows, values = _drift(), _rows(256, 1), _answers(256, 1)
    drift([(rows, values)] * 100)
    assert (drift.seen, drift.skipped) == (4096, 256 * 100 - 4096)
    registry = CollectorRegistry()
    registry.register(drift)
    page = generate_latest(registry).decode()
    assert 'tidegate_drift_skipped_rows_total{endpoint="homes",release="3"} 21504.0' in page
    assert 'tidegate_drift_psi{endpoint="homes",kind="feature",name="age",release="3"} ' in page


def test_a_whole_number_column_with_missing_values_is_the_same_feature() -> None:
    feature = Feature(name="n", measure="number", edges=(1.5,), counts=(1, 1, 0))
    assert feature.count(np.array([1, 2, 2])).tolist() == [1, 2, 0]
    assert feature.count(np.array([1.0, np.nan, 2.0])).tolist() == [1, 1, 1]


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return str(page.read().decode())


def test_a_server_tells_it_in_its_metrics(images: Path, tmp_path: Path, start: Callable[..., Server]) -> None:
    old = open_bundle(images)
    assert old.reference is None  # an older bundle
    training = {"image": np.random.default_rng(7).integers(0, 17, (800, 8, 8)).astype(np.uint8)}
    (tmp_path / "drift.json").write_text(describe(Predictor.of(old), training))
    write_bundle(
        tmp_path / "bundle",
        name="digits",
        run="run-1",
        trial="trial-1",
        schema=old.contract.schema_,
        transforms=old.transforms,
        model=old.model,
        runtime="onnx",
        parity=old.manifest.parity,
        sample=old.sample,
        versions={},
        drift=tmp_path / "drift.json",
    )
    start(tmp_path / "bundle", "digits", 1, tmp_path / "control")
    found = status(tmp_path / "control")
    assert found is not None
    port = found["private_port"]
    with Client(f"http://127.0.0.1:{port}", proof=True) as client:  # rows of ours, which are not counted
        client.predict(np.zeros((5, 8, 8)).tolist())
    with Client(f"http://127.0.0.1:{port}") as client:
        for row in np.full((MIN_ROWS, 8, 8), 3).tolist():
            client.predict([row])
    deadline = time.monotonic() + 20
    while "tidegate_drift_psi{" not in (page := _metrics(port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = [line for line in page.splitlines() if line.startswith("tidegate_drift_psi{")]
    values = {json.dumps(line.split('name="')[1].split('"')[0]): float(line.split()[-1]) for line in lines}
    assert set(values) == {'"image"', '"label"'}
    assert values['"image"'] > 0.25
    assert f'tidegate_drift_rows{{endpoint="digits",release="1"}} {MIN_ROWS}.0' in page
    assert 'tidegate_unwatched_requests{endpoint="digits",release="1"} 0.0' in page
