"""A transform made from the data: its contract, what it reads, what it is called with; beside an own load."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.read_options import OwnLoad
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.look import look
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.raw_inputs import ModelInput, raw_transforms, returned_schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.user_code.project import use_project

SOURCE = """import numpy as np
import pandas as pd


def load(rows=80):
    day = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(rows), unit="D")
    return pd.DataFrame({
        "day": day,
        "plan": pd.Categorical(np.where(np.arange(rows) % 3, "free", "gold")),
        "visits": pd.array([None if row % 9 == 0 else row for row in range(rows)], dtype="Int64"),
        "weight": np.ones(rows),
        "bought": np.arange(rows) % 2 == 1,
    })


def typed(table: pd.DataFrame):
    assert table["day"].dtype.kind == "M" and table["plan"].dtype == "category"
    plans = pd.get_dummies(table["plan"], prefix="plan")
    return plans.assign(visits=table["visits"].fillna(0), month=table["day"].dt.month.astype(str))


def arrays(columns):
    return {"visits": np.nan_to_num(columns["visits"]), "square": columns["visits"] ** 2}


def tables(columns):
    return columns[["visits"]].fillna(1)


def optional(columns):
    return {"visits": columns["visits"] * (2 if "day" in columns else 1)}
"""


@pytest.fixture(scope="module", autouse=True)
def _project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("fitting")
    (folder / "fitting_own.py").write_text(SOURCE)
    use_project([folder])
    yield
    use_project([])


def _prepared(name: str, **more: Any) -> Prepared:
    load = OwnLoad("fitting_own:load", {})
    return prepare(load=load, target=["bought"], weight="weight", transform=f"fitting_own:{name}", **more)


def test_the_contract_has_the_raw_columns_that_are_read_and_the_types_that_load_gave() -> None:
    prepared = _prepared("typed")
    own = prepared.transforms.own
    assert own is not None and own.content.takes == "pandas"
    assert [(one.name, one.kind, one.nullable) for one in prepared.schema.inputs] == [
        ("day", "date", False),
        ("plan", "categorical", False),
        ("visits", "numeric", True),
    ]
    assert own.categories == {"plan": ["free", "gold"]}
    assert [one.name for one in own.content.returns] == ["plan_free", "plan_gold", "visits", "month"]
    assert set(prepared.splits["test"]) >= {"day", "plan", "visits", "bought", "weight"}


def test_stored_transforms_give_the_same_and_numbers_as_they_are() -> None:
    prepared = _prepared("arrays")
    again = Transforms.from_dict(prepared.transforms.to_dict())
    test = prepared.splits["test"]
    features = again.apply({"visits": test["visits"]})["features"]
    assert features[:, 0] == pytest.approx(np.nan_to_num(test["visits"]))
    assert (features == prepared.transforms.apply(test)["features"]).all()


def test_a_function_without_an_annotation_gets_a_table_where_a_dict_fails() -> None:
    prepared = _prepared("tables")
    assert prepared.transforms.own is not None and prepared.transforms.own.content.takes == "pandas"
    assert any("was given a table of pandas; annotate it" in one for one in prepared.summary["warnings"])


def test_a_column_that_changes_the_result_by_being_there_is_read() -> None:
    assert [one.name for one in _prepared("optional").schema.inputs] == ["day", "visits"]


def test_inputs_choose_and_scale_what_it_returns() -> None:
    prepared = _prepared("arrays", inputs=[{"name": "square", "scale": "standard"}])
    features = prepared.transforms.apply(prepared.splits["train"])["features"]
    assert features.shape[1] == 1 and abs(float(features.mean())) < 1e-5


def test_texts_and_boxes_as_the_target_are_refused() -> None:
    with pytest.raises(SchemaError, match="fitting_own:arrays and the task is generation"):
        prepare(
            load=OwnLoad("fitting_own:load", {}),
            target=[{"name": "plan", "kind": "text"}],
            transform="fitting_own:arrays",
        )


def test_its_columns_are_looked_at_without_a_run() -> None:
    load = OwnLoad("fitting_own:load", {})
    seen = look(load=load, target=["bought"], transform="fitting_own:arrays")
    assert [(one["name"], one["role"]) for one in seen.columns] == [
        ("visits", "raw"),
        ("visits", "input"),
        ("square", "input"),
        ("bought", "target"),
    ]


def test_a_trained_model_gets_what_the_transform_returns() -> None:
    prepared = _prepared("arrays", scale="none")
    few = {name: column[:5] for name, column in prepared.splits["test"].items()}
    own = prepared.transforms.own
    assert own is not None
    seen = returned_schema(prepared.schema, own, few)
    found, told = raw_transforms(seen, prepared.transforms, [ModelInput("x", (2,), "float32")])
    again = Transforms.from_dict(found.to_dict())
    visits = np.nan_to_num(few["visits"])
    np.testing.assert_array_equal(again.apply(few)["x"][:, 0], visits.astype(np.float32))
    assert "gets visits, square, in this order, as fitting_own:arrays returns it" in told[0]
    with pytest.raises(SchemaError, match=r"the columns left are visits \(one value\), square"):
        raw_transforms(seen, prepared.transforms, [ModelInput("x", (3,), "float32")])


def test_a_split_without_rows_is_not_given_to_the_function() -> None:
    own = _prepared("typed").transforms.own
    assert own is not None
    none = own.apply({name: np.zeros(0, object) for name in ("day", "plan", "visits")})
    assert {name: (len(array), array.dtype.name) for name, array in none.items()} == {
        "plan_free": (0, "float64"),
        "plan_gold": (0, "float64"),
        "visits": (0, "float64"),
        "month": (0, "object"),
    }
