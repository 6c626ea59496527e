"""Answers of every form of target: as JSON and back, and as tensors of the standard dialects."""

import json

import numpy as np
import pytest

from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.serving.bundle.drift_reference import predicted_columns
from tidegate.serving.contract.answers import numbers_of, predictions_of, told_of
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.tensors import output_specs
from tidegate.serving.dialects import ParsedRequest, ServedModel, make_dialects

RANDOM = np.random.default_rng(1)
X = Field(name="x", kind="numeric", dtype="float64")
CLASS = Target(names=("animal",), task="classification", classes=("bird", "cat", "dog"))
LABELS = Target(names=("tags",), task="multilabel", classes=("a", "b"))
CHOSEN = Target(names=("topics",), task="multilabel", classes=("a", "b"), thresholds=(0.3, 0.7))
ODD = Target(names=(), task="anomaly", shape=(3,), thresholds=(0.5,), label="broken", alarms=0.01)
MASK = Target(names=("mask",), task="segmentation", classes=(0, 1, 2), shape=(2, 3))
CROWNS = Target(
    names=("mask",), task="segmentation", classes=("sky", "tree"), shape=(2, 3), values=(0, 255), ignored=7
)
TOKENS = Target(names=("ner",), task="tagging", classes=("", "B-X", "O"), shape=(4,))
ARRAY = Target(names=("clean",), task="regression", shape=(2, 3))
WEIGHT = Target(names=("weight",), task="regression")
SEVERAL = Target(names=("weight", "tags", "animal"), task="multioutput", outputs=(CLASS, LABELS, WEIGHT))
ITSELF = Target(names=(), task="reconstruction", shape=(3,))
DEMAND = Target(names=("demand",), task="forecasting", shape=(2,), quantiles=(0.1, 0.5, 0.9), naive_error=2.0)
FORMS = [CLASS, LABELS, MASK, CROWNS, TOKENS, ARRAY, WEIGHT, SEVERAL, ITSELF, DEMAND, CHOSEN, ODD]


def _answers(target: Target, rows: int) -> np.ndarray:
    """What a model may answer: of tokens certainty that there is none behind the last one."""
    raw = RANDOM.random((rows, target.units)).astype(np.float32)
    if target is not TOKENS:
        return raw
    places = raw.reshape(rows, 4, 3)
    places[:, :, 0] = 0
    for row in range(rows):
        places[row, row % 5 :] = [1, 0, 0]
    return raw


def _served(target: Target) -> ServedModel:
    return ServedModel("m", 1, Contract.of(Schema(inputs=(X,), target=target), {}))


@pytest.mark.parametrize("target", FORMS, ids=lambda target: target.name)
def test_what_is_answered_in_json_has_all_numbers(target: Target) -> None:
    raw = _answers(target, 5)
    values = as_answers(target, raw)
    back = numbers_of(target, json.loads(json.dumps(predictions_of(target, values))))
    np.testing.assert_allclose(back, told_of(target, values), atol=1e-7)


def test_a_contract_of_any_form_is_read_again() -> None:
    for target in FORMS:
        contract = _served(target).contract
        again = Contract.model_validate_json(contract.model_dump_json(exclude_none=True))
        known = {"naive_error": None, "label": None, "alarms": None}
        known |= {"shape": None} if target is ODD else {}
        known |= {"ignored": None}  # of the data alone
        assert again.target_ == target.model_copy(update=known) and again.answers_like(target)


def test_a_mask_holds_what_the_pixels_of_the_data_hold() -> None:
    """In each dialect, beside probabilities; with the numbers and what each is in the description."""
    values = np.array([[0.9, 0.1] * 2 + [0.2, 0.8] * 4], np.float32)
    served, request = _served(CROWNS), ParsedRequest({}, 1, True)
    dialects = make_dialects(served)
    (found,) = json.loads(dialects["predict"].write(values, request).body)["predictions"]
    assert found["mask"] == [[0, 0, 255], [255, 255, 255]]
    assert found["probability"][1] == pytest.approx([0.8] * 3)
    (named,) = json.loads(dialects["tfserving"].write(values, request).body)["predictions"]
    assert named["mask"] == found["mask"] and np.shape(named["probabilities"]) == (2, 3, 2)
    assert [(spec.name, spec.datatype, spec.shape) for spec in output_specs(served.contract)] == [
        ("probabilities", "FP32", (2, 3, 2)),
        ("mask", "INT32", (2, 3)),
    ]
    assert served.contract.values == (0, 255) and served.contract.classes == ("sky", "tree")
    assert predicted_columns(served.contract, values) == {"sky": [1 / 3], "tree": [2 / 3]}


def test_labels_are_those_whose_probability_reaches_the_threshold() -> None:
    values = np.array([[0.5, 0.49], [0.1, 0.2]], np.float32)
    dialects = make_dialects(_served(LABELS))
    request = ParsedRequest({}, 2, True)
    found = json.loads(dialects["predict"].write(values, request).body)["predictions"]
    assert [one["labels"] for one in found] == [["a"], []]
    assert found[0]["probabilities"] == pytest.approx({"a": 0.5, "b": 0.49})
    assert json.loads(dialects["tfserving"].write(values, request).body)["predictions"][0] == pytest.approx(
        [0.5, 0.49]
    )


def test_each_label_may_have_a_threshold_of_its_own() -> None:
    values = np.array([[0.4, 0.6], [0.2, 0.7]], np.float32)
    assert [one["labels"] for one in predictions_of(CHOSEN, values)] == [["a"], []]
    contract = _served(CHOSEN).contract
    assert contract.threshold is None and contract.thresholds == {"a": 0.3, "b": 0.7}


@pytest.mark.parametrize("target", FORMS, ids=lambda target: target.name)
def test_the_standard_dialects_have_a_tensor_for_each_output_in_its_own_shape(target: Target) -> None:
    served, values = _served(target), _answers(target, 2)
    dialects = make_dialects(served)
    specs = {spec.name: spec.shape for spec in output_specs(served.contract)}
    asked = [(name, False) for name in specs]
    tensors = json.loads(dialects["v2"].write(values, ParsedRequest({}, 2, (None, asked))).body)["outputs"]
    assert {one["name"]: tuple(one["shape"][1:]) for one in tensors} == specs
    rows = json.loads(dialects["tfserving"].write(values, ParsedRequest({}, 2, True)).body)["predictions"]
    if target is SEVERAL:
        assert list(specs) == ["weight", "tags", "animal", "animal_label"]
        assert (
            rows[1]["weight"] == pytest.approx([float(values[1, -1])])
            and rows[0]["animal_label"] in CLASS.classes
        )
    elif target is TOKENS:
        assert list(specs) == ["probabilities", "labels"] and rows[0]["labels"] == ["", "", "", ""]
        assert rows[1]["labels"][0] in ("B-X", "O") and rows[1]["labels"][1:] == [""] * 3
        assert np.shape(rows[1]["probabilities"]) == (4, 3)
    elif target is CROWNS:
        assert list(specs) == ["probabilities", "mask"] and tensors[1]["datatype"] == "INT32"
        assert np.shape([row["mask"] for row in rows])[1:] == specs["mask"] == (2, 3)
    elif target is ODD:
        assert [row["anomaly"] for row in rows] == (values[:, 0] > 0.5).tolist()
        assert [one["datatype"] for one in tensors] == ["FP32", "BOOL"]
    elif target is CHOSEN:
        assert [row["answered"] for row in rows] == (values >= (0.3, 0.7)).tolist()
        assert tensors[1]["datatype"] == "BOOL" and rows[0]["probabilities"] == pytest.approx(
            values[0].tolist()
        )
    else:
        assert np.shape(rows)[1:] == next(iter(specs.values()))


def test_a_score_at_the_threshold_is_the_same_in_every_dialect() -> None:
    """A threshold is no float32: between it and the nearest one a score may lie on either side."""
    values = np.array([[0.1], [np.nextafter(np.float32(0.1), np.float32(0))]], np.float32)
    target = ODD.model_copy(update={"thresholds": (0.1,)})
    found = [one["anomaly"] for one in predictions_of(target, values)]
    assert found == [True, False]
    body = make_dialects(_served(target))["tfserving"].write(values, ParsedRequest({}, 2, True)).body
    assert [row["anomaly"] for row in json.loads(body)["predictions"]] == found


def test_a_row_of_tokens_gets_as_many_labels() -> None:
    values = np.array([[0, 0.9, 0.1, 0, 0.2, 0.8, 1, 0, 0, 1, 0, 0], [1, 0, 0] * 4], np.float32)
    found = predictions_of(TOKENS, values)
    assert found[0]["labels"] == ["B-X", "O"] and found[0]["probability"] == pytest.approx([0.9, 0.8])
    assert found[1] == {"labels": [], "probability": []}


def test_a_forecast_is_its_median_and_its_quantiles_in_order() -> None:
    values = as_answers(DEMAND, np.array([[3, 1, 2, 7, 8, 9]], np.float32))
    (found,) = predictions_of(DEMAND, values)
    assert found == {
        "forecast": [2.0, 8.0],
        "quantiles": {"0.1": [1.0, 7.0], "0.5": [2.0, 8.0], "0.9": [3.0, 9.0]},
    }


def test_people_get_each_output_in_its_own_words() -> None:
    values = np.array([[0.1, 0.2, 0.7, 0.6, 0.1, 4.5]], np.float32)
    (found,) = predictions_of(SEVERAL, values)
    assert list(found) == ["weight", "tags", "animal"]
    assert (found["weight"], found["tags"]["labels"], found["animal"]["label"]) == (4.5, ["a"], "dog")
    (mask,) = predictions_of(MASK, np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1, 0]].reshape(1, -1))
    assert mask == {"labels": [[0, 1, 2], [2, 1, 0]], "probability": [[1.0] * 3] * 2}
