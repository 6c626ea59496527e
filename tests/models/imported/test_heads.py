"""What the outputs of a trained model are: their width, their classes, whether they are logits."""

from __future__ import annotations

import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.imported.heads import head_of, loss_of, with_classes
from tidegate.models.preprocessing.schema import Field, Schema, Target

TWO = Target(names=("y",), task="classification", classes=("no", "yes"))
THREE = Target(names=("y",), task="classification", classes=(0, 1, 2))
NUMBER = Target(names=("price",), task="regression")


def schema(target: Target) -> Schema:
    return Schema(inputs=(Field(name="a", kind="numeric", dtype="float64"),), target=target)


@pytest.mark.parametrize(
    ("units", "target", "stated", "activation"),
    [
        (1, TWO, None, "sigmoid"),
        (2, TWO, None, "softmax"),
        (3, THREE, None, "softmax"),
        (1, NUMBER, None, "linear"),
        (1, NUMBER, "mae", "linear"),
        (2, TWO, {"name": "sparse_categorical_crossentropy", "from_logits": True}, "softmax"),
        (1, TWO, {"name": "binary_crossentropy", "from_logits": True}, "sigmoid"),
    ],
)
def test_the_width_of_the_outputs_says_what_they_are(
    units: int, target: Target, stated: str | dict[str, object] | None, activation: str
) -> None:
    head = head_of(target, loss_of(units, target, stated))
    assert (head.units, head.activation) == (units, activation)
    assert head.logits == (isinstance(stated, dict))


@pytest.mark.parametrize(("units", "target"), [(3, TWO), (1, THREE), (2, NUMBER)])
def test_another_width_is_refused(units: int, target: Target) -> None:
    with pytest.raises(
        OptionsError, match=rf"answers {units} numbers for a row, and {target.names[0]} needs"
    ):
        loss_of(units, target, None)


def test_the_classes_have_the_order_that_is_stated_or_the_files_or_are_sorted() -> None:
    known, told = with_classes(schema(TWO), None, ())
    assert known.target.classes == ("no", "yes")
    assert "sorted order" in told[0]
    assert with_classes(schema(TWO), None, ("yes", "no"))[0].target.classes == ("yes", "no")
    assert with_classes(schema(TWO), ["yes", "maybe", "no"], ("no", "yes"))[0].target.classes == (
        "yes",
        "maybe",
        "no",
    )
    assert with_classes(schema(THREE), None, ("2", "1", "0"))[0].target.classes == (2, 1, 0)


@pytest.mark.parametrize("stated", [["yes", "maybe"], ["yes", "yes", "no"]])
def test_classes_that_are_not_those_of_the_data_are_refused(stated: list[str]) -> None:
    with pytest.raises(OptionsError, match=r"model.classes has the classes .* and the data has no, yes"):
        with_classes(schema(TWO), list(stated), ())
