"""Which columns a trained model of others takes for its inputs, and that they stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.raw_inputs import ModelInput, raw_transforms
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms

COLUMNS = {
    "b": np.array([1.5, np.nan, 3.5]),
    "a": np.array([1, 2, 3]),
    "city": np.array(["Bonn", None, "Ulm"], object),
    "photo": np.arange(12, dtype=np.uint8).reshape(3, 2, 2),
}
KINDS = {"b": "numeric", "a": "numeric", "city": "categorical", "photo": "image"}


def transforms(names: list[str], *inputs: ModelInput) -> tuple[Transforms, list[str]]:
    fields = tuple(
        Field.model_validate(
            {
                "name": name,
                "kind": KINDS[name],
                "dtype": "str" if name == "city" else str(COLUMNS[name].dtype),
                "shape": COLUMNS[name].shape[1:],
                "scale": "none" if name != "city" else None,
            }
        )
        for name in names
    )
    schema = Schema(inputs=fields, target=Target(names=("y",), task="regression"))
    found, told = raw_transforms(schema, Transforms.fit(schema, COLUMNS), inputs)
    return Transforms.from_dict(found.to_dict()), told


def test_the_only_input_gets_all_single_values_in_order() -> None:
    found, told = transforms(["b", "a"], ModelInput("x", (2,), "float32"))
    inputs = found.apply(COLUMNS)
    np.testing.assert_array_equal(inputs["x"], np.array([[1.5, 1], [2.5, 2], [3.5, 3]], np.float32))
    assert "gets b, a, in this order" in told[0]


def test_inputs_of_a_columns_name_and_shape_get_it() -> None:
    found, _ = transforms(
        ["b", "a", "city", "photo"],
        ModelInput("a", (1,), "int64"),
        ModelInput("where", (1,), "str"),
        ModelInput("pixels", (2, 2, 1), "float32"),
        ModelInput("b", (), "float64"),
    )
    inputs = found.apply(COLUMNS)
    assert {name: (array.dtype.name, array.shape) for name, array in inputs.items()} == {
        "a": ("int64", (3, 1)),
        "where": ("object", (3, 1)),
        "pixels": ("float32", (3, 2, 2, 1)),
        "b": ("float64", (3,)),
    }
    assert inputs["where"].ravel().tolist() == ["Bonn", "", "Ulm"]
    assert found.categories == {"city": ["Bonn", "Ulm"]}


@pytest.mark.parametrize(
    ("names", "inputs", "sentence"),
    [
        (
            ["b", "a"],
            [ModelInput("x", (3,), "float32")],
            r"no column fits the model's input 'x'.* left are b .*, a",
        ),
        (
            ["b", "a", "photo"],
            [ModelInput("x", (2,), "float32")],
            r"no column fits .* left are b .*, photo",
        ),
        (["b", "a"], [ModelInput("u", (1,), "float32"), ModelInput("v", (1,), "float32")], "no column fits"),
        (["city"], [ModelInput("x", (1,), "float32")], "'city' holds texts, .* takes numbers"),
        (["a"], [ModelInput("x", (1,), "str")], "'a' holds numbers, .* takes texts"),
        (["b"], [ModelInput("x", (1,), "int32")], "may have fractions, .* state {name: b, kind: integer}"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    names: list[str], inputs: list[ModelInput], sentence: str
) -> None:
    with pytest.raises(SchemaError, match=sentence):
        transforms(names, *inputs)
