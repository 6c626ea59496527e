"""A function of the project that makes its model by itself: its inputs are the columns of their names."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import OptionsError, UserModelError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.encoding.encoders import ColumnPart, InputSpec
from tidegate.models.user_code.project import use_project

NET = """import keras
from keras import layers


def whole(ids: int, numbers=("age", "width"), kind="int32"):
    place = keras.Input((), dtype=kind, name="place")
    given = [keras.Input((1,), name=name) for name in numbers]
    embedded = layers.Embedding(ids, 2)(place)
    joined = layers.concatenate([embedded, *given])
    return keras.Model([place, *given], layers.Dense(1, activation="sigmoid")(joined))


def by_name(units=1):
    place, age = keras.Input((), name="place"), keras.Input((1,), name="age")
    x = layers.concatenate([layers.Reshape((1,))(place), age])
    return keras.Model({"age": age, "place": place}, layers.Dense(units, activation="sigmoid")(x))


def wide():
    age = keras.Input((3,), name="age")
    return keras.Model(age, layers.Dense(1)(age))


def unnamed():
    return keras.Sequential([layers.Dense(1, activation="sigmoid")])
"""
COLUMNS = tuple(
    ColumnPart(name, (place,), "as it is") for place, name in enumerate(("age", "place", "width"))
)
SPECS = {"features": InputSpec((3,), "float32", "numeric", columns=COLUMNS)}
ROWS = np.array([[0.5, 2, 7], [1.5, 0, 8], [2.5, 1, 9]], np.float32)


@pytest.fixture(scope="module", autouse=True)
def _project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "whole_net.py").write_text(NET)
    use_project([folder])
    yield
    use_project([])


def _built(name: str, **options: Any) -> Any:
    return build_model({"function": f"whole_net:{name}", **options}, SPECS, Outputs(1, "sigmoid"), 1)


@pytest.mark.parametrize(("name", "options"), [("whole", {"ids": 3}), ("by_name", {}), ("unnamed", {})])
def test_a_model_gets_the_columns_of_its_inputs_names(name: str, options: dict[str, Any]) -> None:
    model = _built(name, **options)
    inner = next((layer for layer in model.layers if layer.weights), None)
    given = {"place": ROWS[:, 1], "age": ROWS[:, :1], "width": ROWS[:, 2:]}
    own = {"whole": [given["place"].astype("int32"), given["age"], given["width"]], "unnamed": ROWS}.get(
        name, {"age": given["age"], "place": given["place"]}
    )
    assert inner is not None
    assert predict(model, {"features": ROWS}) == pytest.approx(np.asarray(inner(own)), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "whole",
            {"ids": 3, "numbers": ["agge"]},
            "an input 'agge', and the data has none.*did you mean 'age'",
        ),
        ("whole", {"ids": 3, "kind": "string"}, "'place' is string"),
        ("wide", {}, r"input 'age' is float32 \(None, 3\), and that column is float32 \(None, 1\)"),
        ("by_name", {"units": 2}, r"output shape \(None, 2\); expected one output of shape \(None, 1\)"),
    ],
)
def test_a_model_that_does_not_fit_the_columns(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserModelError, match=words):
        _built(name, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "needs the option 'ids'"), ({"ids": 3, "idz": 2}, "no option 'idz'.*did you mean 'ids'")],
)
def test_its_options_are_those_of_the_function(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionsError, match=words):
        _built("whole", **options)
