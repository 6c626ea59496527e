"""Events as MLflow takes them."""

import json
import math

import pytest

from tidegate.infra.mlflow import events


def event(kind: str, **payload: object) -> events.Event:
    return {"kind": kind, "id": "x", "t": 7, **payload}


def test_parameters_are_flat_and_within_limits() -> None:
    values = {
        "training": {"optimizer": {"name": "sgd"}, "epochs": 3},
        "hidden": [8, 4],
        "none": None,
        "on": True,
    }
    batch = events.gather(
        [event("params", values=values), event("params", values={"k" * 300: "v" * 7000, "a(b)": 1})]
    )
    long = batch.params.pop("k" * 250)
    assert len(long) == 6000
    assert long.endswith("v…")
    assert batch.params == {
        "training.optimizer.name": "sgd",
        "training.epochs": "3",
        "hidden": "[8, 4]",
        "none": "null",
        "on": "true",
        "a_b_": "1",
    }


def test_points_keep_time_step_and_strange_values() -> None:
    told = event("metrics", step=2, values={"loss": math.inf, "gap": None, "a%": 1})
    system = event("system", step=0, values={"cpu": 1})
    assert events.gather([told, system]).points == [
        ("loss", math.inf, 7, 2),
        ("a_", 1.0, 7, 2),
        ("system/cpu", 1.0, 7, 0),
    ]


def test_the_newest_point_of_each_metric_is_the_models() -> None:
    stretch = [event("metrics", step=s, values={"loss": s, f"only-{s}": 1}) for s in (0, 1)]
    newest = events.last_points([*stretch, event("system", values={"cpu": 1})])
    assert {point.key: point.value for point in newest} == {"loss": 1.0, "only-0": 1.0, "only-1": 1.0}


@pytest.mark.parametrize(
    ("kinds", "ended", "reopened"),
    [
        (["run", "end"], True, False),
        (["end", "tags", "artifact"], True, False),
        (["end", "metrics"], False, True),
        (["end", "run", "end"], True, False),
        (["tags"], False, False),
    ],
)
def test_what_ends_and_reopens_a_run(kinds: list[str], ended: bool, reopened: bool) -> None:
    batch = events.gather(event(kind, values={}) for kind in kinds)
    assert (batch.end is not None, batch.reopened) == (ended, reopened)


@pytest.mark.parametrize(
    ("word", "mlflow"),
    [
        ("done", "FINISHED"),
        ("refused", "FINISHED"),
        ("failed", "FAILED"),
        ("cancelled", "KILLED"),
        ("FINISHED", "FINISHED"),
    ],
)
def test_how_a_run_ended(word: str, mlflow: str) -> None:
    end = event("end", status=word, reason="so")
    assert events.status(end) == mlflow
    assert events.gather([end]).tags == {f"tidegate.{word}": "so"}


def test_a_dataset_is_within_limits_and_lists_its_columns() -> None:
    schema = {
        "inputs": [
            {"name": "age", "kind": "numeric", "dtype": "float32", "shape": []},
            {"name": "image", "kind": "image", "dtype": "uint8", "shape": [8, 8]},
        ],
        "target": {"names": ["label"], "task": "classification", "classes": [0, 1]},
    }
    told = event(
        "dataset", name="digits", digest="a" * 64, source={"f": 1}, schema=schema, profile={"rows": 3}
    )
    dataset = events.dataset(told)
    assert dataset["digest"] == "a" * 36
    assert dataset["source"] == '{"f": 1}'
    assert json.loads(dataset["schema"] or "")["mlflow_colspec"] == [
        {"name": "age", "type": "numeric float32"},
        {"name": "image", "type": "image uint8 8x8"},
        {"name": "label", "type": "classification"},
    ]
    assert events.dataset(event("dataset", name="x", digest="d"))["profile"] == "{}"
