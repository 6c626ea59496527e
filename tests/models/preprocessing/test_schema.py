import numpy as np
import pytest

from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema import Field, Schema
from tidegate.models.preprocessing.schema_inference import infer_schema


def strings(*values):
    return np.array(values, object)


def columns():
    return {
        "age": np.array([30.0, np.nan, 41.5]),
        "city": strings("Bern", None, "Basel"),
        "review": strings("not a good film at all", "it was a fine evening", None),
        "photo": np.zeros((3, 4, 4), np.uint8),
        "signal": np.zeros((3, 16), np.float32),
        "y": np.array([2, 0, 2]),
    }


def test_kinds_are_inferred():
    schema = infer_schema(columns(), None, ["y"], None)
    assert schema.inputs == (
        Field(name="age", kind="numeric", dtype="float64"),
        Field(name="city", kind="categorical", dtype="str"),
        Field(name="review", kind="text", dtype="str"),
        Field(name="photo", kind="image", dtype="uint8", shape=(4, 4), upright=True),
        Field(name="signal", kind="numeric", dtype="float32", shape=(16,)),
    )
    assert schema.target.classes == (0, 2)


def test_stated_kinds_and_a_choice_of_inputs_are_kept():
    wanted = [{"name": "y", "kind": "categorical"}, {"name": "review", "kind": None}]
    schema = infer_schema(columns(), wanted, ["age"], None)
    assert [(field.name, field.kind, field.dtype) for field in schema.inputs] == [
        ("y", "categorical", "str"),
        ("review", "text", "str"),
    ]
    assert (schema.target.task, schema.target.classes) == ("regression", ())


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (strings("b", "a", None, "b"), "classification", ("a", "b")),
        (strings("True", "false", None, "true"), "classification", (False, True)),
        (strings("true", "maybe", None, "true"), "classification", ("maybe", "true")),
        (np.array([True, False, True, True]), "classification", (False, True)),
        (np.array([3.0, 1.0, np.nan, 3.0]), "classification", (1, 3)),
        (np.array([10, -2, 10, 9]), "classification", (-2, 9, 10)),
        (np.array([1.5, 2.0, 3.0, 4.0]), "regression", ()),
    ],
)
def test_task_and_classes_are_inferred(target, task, classes):
    found = infer_schema({"x": np.arange(4.0), "y": target}, None, ["y"], None).target
    assert (found.task, found.classes) == (task, classes)
    assert [type(value) for value in found.classes] == [type(value) for value in classes]


def test_many_whole_numbers_and_several_targets_are_a_regression():
    many = {"x": np.arange(101.0), "y": np.arange(101), "z": np.arange(101) % 2}
    assert infer_schema(many, None, ["y"], None).target.task == "regression"
    assert infer_schema(many, None, ["y"], "classification").target.task == "classification"
    assert infer_schema(many, None, ["y", "z"], None).target.names == ("y", "z")


def test_the_schema_survives_json_with_its_class_types():
    for labels in (strings("1", "b", "b"), np.array([True, False, True]), np.array([4, 5, 4])):
        schema = infer_schema(columns() | {"y": labels}, None, ["y"], None)
        back = Schema.model_validate_json(schema.model_dump_json())
        assert back == schema
        assert [type(c) for c in back.target.classes] == [type(c) for c in schema.target.classes]


def named(*names, kind=None):
    return [{"name": name, "kind": kind} for name in names]


@pytest.mark.parametrize(
    ("inputs", "target", "task", "message"),
    [
        (None, ["yy"], None, "target 'yy' is not a column.*columns are: age.*did you mean 'y'"),
        (named("citty"), ["y"], None, "input 'citty' is not a column.*did you mean 'city'"),
        (named("age", "y"), ["y"], None, "'y' is both input and target; .*remove"),
        (named("age", "age"), ["y"], None, "'age' is listed twice"),
        ([], ["y"], None, "no inputs; expected at least one"),
        (named("age", kind="audio"), ["y"], None, "kind 'audio'; expected one of numeric, categorical"),
        (
            named("city", kind="numeric"),
            ["y"],
            None,
            "'city' has kind numeric and holds strings, such as 'Bern'",
        ),
        (
            named("age", kind="text"),
            ["y"],
            None,
            "has kind text and holds numbers, such as 30.0; expected strings",
        ),
        (named("signal", kind="image"), ["y"], None, r"holds rows of shape \(16,\); expected rows of shape"),
        (named("photo", kind="categorical"), ["y"], None, "expected one value per row; set kind"),
        (
            named("age"),
            ["y"],
            "clustering",
            "task is 'clustering'; expected one of classification, regression, generation",
        ),
        (
            named("age"),
            ["city"],
            "regression",
            "'city' holds strings, such as 'Bern'; expected .* for a regression",
        ),
        (named("city"), ["age"], "classification", "'age' holds 41.5; expected classes that.*set task"),
        (named("age"), ["y", "city"], "classification", "is classification and data.target is y, city"),
        (named("age"), ["photo"], "classification", "expected one class per row; turn one-hot"),
    ],
)
def test_what_does_not_fit_is_told(inputs, target, task, message):
    with pytest.raises(SchemaError, match=message):
        infer_schema(columns(), inputs, target, task)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([1, 1, 1]), "holds only the class 1; expected at least two"),
        (strings(None, None, None), "holds no value"),
    ],
)
def test_one_class_or_none_is_refused(labels, message):
    with pytest.raises(SchemaError, match=message):
        infer_schema(columns() | {"y": labels}, None, ["y"], None)


def test_no_rows_are_refused():
    with pytest.raises(SchemaError, match="no rows"):
        infer_schema({"x": np.array([]), "y": np.array([])}, None, ["y"], None)
