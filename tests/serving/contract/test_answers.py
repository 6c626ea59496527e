"""Answers of every form of target: as JSON and back, and as tensors of the standard dialects."""

import json

import numpy as np
import pytest

from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.serving.contract.answers import numbers_of, predictions_of
from tidegate.serving.contract.contract import Contract
from tidegate.serving.dialects import ParsedRequest, ServedModel, make_dialects

RANDOM = np.random.default_rng(1)
X = Field(name="x", kind="numeric", dtype="float64")
CLASS = Target(names=("animal",), task="classification", classes=("bird", "cat", "dog"))
LABELS = Target(names=("tags",), task="multilabel", classes=("a", "b"))


def _served(target: Target) -> ServedModel:
    return ServedModel("m", 1, Contract.of(Schema(inputs=(X,), target=target), {}))


@pytest.mark.parametrize("target", [CLASS, LABELS], ids=lambda target: target.task)
def test_what_is_answered_in_json_has_all_numbers(target: Target) -> None:
    raw = RANDOM.random((5, target.units)).astype(np.float32)
    values = as_answers(target, raw)
    back = numbers_of(target, json.loads(json.dumps(predictions_of(target, values))))
    np.testing.assert_allclose(back, values, atol=1e-7)


def test_a_contract_of_any_form_is_read_again() -> None:
    for target in (CLASS, LABELS):
        contract = _served(target).contract
        again = Contract.model_validate_json(contract.model_dump_json(exclude_none=True))
        assert again.target_ == target and again.answers_like(target)


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
