import json
import math

import numpy as np
import pytest

from tidegate.models.data.sources import FASHION_FILES, FASHION_VARIABLE
from tidegate.models.errors import FormatError, SchemaError, SplitError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.splitting.splits import fingerprint
from tidegate.models.preprocessing.target.encode_target import encode_target


@pytest.fixture
def people(tmp_path):
    """A CSV with every kind of gap: ages, cities and targets that are not there."""
    generator, lines = np.random.default_rng(0), ["age,city,note,buys"]
    for row in range(100):
        age = "" if row % 10 == 3 else generator.integers(18, 80)
        city = "" if row % 10 == 4 else ("Bern", "Chur")[row % 2]
        lines.append(
            f"{age},{city},one two three four {row},{'' if row % 20 == 5 else ('yes', 'no')[row % 3 > 1]}"
        )
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines))
    return path


def test_rows_without_a_target_are_dropped_and_counted(people):
    prepared = prepare(source=people, target=["buys"])
    assert prepared.summary["dropped_rows"] == 5
    assert sum(prepared.summary["rows"].values()) == 95
    assert prepared.schema.target.classes == ("no", "yes")


def test_the_summary_is_plain_and_complete(people):
    summary = prepare(source=people, target=["buys"]).summary
    assert json.loads(json.dumps(summary)) == summary
    assert summary["task"] == "classification"
    assert summary["fields"]["age"]["missing"] == 10
    assert (
        18
        <= summary["fields"]["age"]["min"]
        < summary["fields"]["age"]["mean"]
        < summary["fields"]["age"]["max"]
    )
    assert summary["fields"]["city"] == {"kind": "categorical", "missing": 10, "categories": 2}
    assert summary["fields"]["note"] == {"kind": "text", "missing": 0, "mean_words": 5.0}
    assert sum(sum(counts.values()) for counts in summary["classes"].values()) == 95


def test_splits_are_raw_and_hold_only_what_the_schema_names(people):
    prepared = prepare(source=people, inputs=[{"name": "city", "kind": None}], target=["buys"])
    assert set(prepared.splits) == {"train", "validation", "test"}
    for name, columns in prepared.splits.items():
        assert set(columns) == {"city", "buys"}
        assert prepared.summary["fingerprints"][name] == fingerprint(columns)
        assert set(columns["city"].tolist()) <= {"Bern", "Chur", None}


def test_numbers_stated_as_categories_become_strings(tmp_path):
    (tmp_path / "d.csv").write_text("zip,y\n" + "3000,1.5\n7000,2.5\n,3.5\n" * 5)
    prepared = prepare(
        source=tmp_path / "d.csv", inputs=[{"name": "zip", "kind": "categorical"}], target=["y"]
    )
    assert prepared.transforms.categories == {"zip": ["3000", "7000"]}
    assert prepared.summary["target"]["y"]["max"] == 3.5


def test_transforms_are_fitted_on_the_training_rows_only():
    prepared = prepare(dataset="wine")
    encoded = prepared.transforms.apply(prepared.splits["train"])["features"]
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-5)
    assert abs(prepared.transforms.apply(prepared.splits["test"])["features"].mean(axis=0)).max() > 0.01


def test_the_same_data_has_the_same_fingerprint_and_another_seed_another():
    known = prepare(dataset="wine").fingerprint
    assert known == prepare(dataset="wine").fingerprint
    assert known != prepare(dataset="wine", split={"seed": 1}).fingerprint


@pytest.mark.parametrize(
    ("dataset", "task", "inputs"),
    [("digits", "classification", 1), ("wine", "classification", 13), ("diabetes", "regression", 10)],
)
def test_built_in_datasets_know_their_target(dataset, task, inputs):
    prepared = prepare(dataset=dataset)
    assert (prepared.schema.target.task, len(prepared.schema.inputs)) == (task, inputs)
    assert len(encode_target(prepared.schema, prepared.splits["test"])) == prepared.summary["rows"]["test"]


def test_a_built_in_dataset_takes_another_target():
    assert prepare(dataset="wine", target=["alcohol"]).schema.target.task == "regression"


def test_a_published_test_split_is_used(tmp_path, write_idx, monkeypatch):
    for name, rows in zip(FASHION_FILES, (60, 60, 20, 20), strict=True):
        labels = np.arange(rows, dtype=np.uint8) % 10
        write_idx(tmp_path / name, np.repeat(labels, 784).reshape(-1, 28, 28) if "images" in name else labels)
    monkeypatch.setenv(FASHION_VARIABLE, str(tmp_path))
    prepared = prepare(dataset="fashion-mnist", split={"validation": 0.5, "test": 0.1})
    assert prepared.summary["rows"] == {"train": 30, "validation": 30, "test": 20}
    assert prepared.splits["test"]["label"].tolist() == [row % 10 for row in range(20)]


def test_a_target_of_arrays_becomes_several_columns(tmp_path):
    np.savez(
        tmp_path / "d.npz",
        x=np.arange(20.0),
        y=np.arange(40.0).reshape(20, 2) + 0.5,
        z=np.arange(20)[:, None] % 2,
    )
    prepared = prepare(source=tmp_path / "d.npz", inputs=[{"name": "x", "kind": None}], target=["y"])
    assert prepared.schema.target.names == ("y_0", "y_1")
    assert encode_target(prepared.schema, prepared.splits["train"]).shape[1] == 2
    assert prepare(source=tmp_path / "d.npz", target=["z"]).schema.target.classes == (0, 1)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, SchemaError, "data.target is missing"),
        ({"target": ["bys"]}, SchemaError, "target 'bys' is not a column.*did you mean 'buys'"),
        ({"target": ["buys"], "inputs": [{"name": "agee"}]}, SchemaError, "'agee' is not a column.*'age'"),
        ({"target": ["buys"], "split": {"test": 1.2}}, SplitError, "validation 0.1 and test 1.2"),
        ({"target": ["buys"], "split": {"tst": 0.2}}, SplitError, "has tst; expected validation, test, seed"),
        (
            {"target": ["buys"], "inputs": [{"name": "city", "kind": "numeric"}]},
            FormatError,
            "holds 'Bern' in row 1, and 90 of 90 cells are no numbers",
        ),
    ],
)
def test_what_cannot_be_prepared_is_told(people, given, error, message):
    with pytest.raises(error, match=message):
        prepare(source=people, **given)


def test_a_target_without_any_value_is_told(tmp_path):
    (tmp_path / "d.csv").write_text("x,y\n1,\n2,\n")
    with pytest.raises(SchemaError, match="target y has no value in any of 2 rows"):
        prepare(source=tmp_path / "d.csv", target=["y"])


def test_columns_without_values_are_told_as_missing(tmp_path):
    (tmp_path / "d.csv").write_text("x,e,y\n" + "".join(f"{n},,{n % 2}\n" for n in range(10)))
    summary = prepare(source=tmp_path / "d.csv", target=["y"]).summary
    assert summary["fields"]["e"] == {
        "kind": "numeric",
        "missing": 10,
        "min": None,
        "max": None,
        "mean": None,
    }
    assert math.isclose(summary["fields"]["x"]["mean"], 4.5)
