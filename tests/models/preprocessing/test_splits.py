import numpy as np
import pytest

from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.splitting.row_identity import identify
from tidegate.models.preprocessing.splitting.rules import FREE, SplitRules, divide
from tidegate.models.preprocessing.splitting.splits import fingerprint


def parts(labels, validation=0.1, test=0.2, seed=0, fixed_test=(), task=None):
    columns = {"x": np.arange(float(len(labels))), "y": np.asarray(labels)}
    schema = infer_schema(columns, None, ["y"], task)
    given = np.full(len(labels), FREE, np.int8)
    given[list(fixed_test)] = 2
    return divide(schema, columns, SplitRules(validation, test, seed), given, identify(schema, columns))


def test_every_row_is_in_one_part_and_sizes_are_exact():
    found = parts(np.arange(1000) % 7)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 700, "validation": 100, "test": 200}
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(1000))


def test_classes_are_in_proportion():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    found = parts(labels)
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        np.testing.assert_allclose(
            np.bincount(labels[found[name]]), np.array([500, 300, 200]) * share, atol=2
        )


def test_the_seed_decides():
    labels = np.arange(100) % 2
    same, again, other = parts(labels, seed=3), parts(labels, seed=3), parts(labels, seed=4)
    for name in same:
        np.testing.assert_array_equal(same[name], again[name])
    assert same["test"].tolist() != other["test"].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_is_always_learned(seed):
    labels = np.array([0] * 50 + [1] * 2 + [2])
    found = parts(labels, 0.2, 0.4, seed)
    assert set(labels[found["train"]]) == {0, 1, 2}
    assert 2 not in labels[found["test"]]


def test_held_out_rows_are_not_sorted_by_class():
    labels = np.repeat(np.arange(10), 100)
    assert len(set(labels[parts(labels)["test"][:20]])) > 3


def test_a_regression_is_split_without_classes():
    found = parts(np.linspace(0, 1, 50), 0.1, 0.2)
    assert [len(found[name]) for name in ("train", "validation", "test")] == [35, 5, 10]


def test_no_validation_is_allowed():
    assert len(parts(np.arange(10) % 2, validation=0)["validation"]) == 0


def test_small_data_has_at_least_a_row_in_each_part():
    assert [len(rows) for rows in parts([0, 1, 0, 1], 0.01, 0.01).values()] == [2, 1, 1]


def test_a_published_test_split_is_kept():
    labels = np.arange(100) % 2
    found = parts(labels, validation=0.25, test=0.9 - 0.25, fixed_test=np.arange(80, 100))
    assert found["test"].tolist() == list(range(80, 100))
    assert len(found["validation"]) == 20
    assert max(found["train"].max(), found["validation"].max()) < 80


@pytest.mark.parametrize(
    ("validation", "test"), [(0.5, 0.5), (0.1, 0), (-0.1, 0.2), (0.1, 1.5), (0.1, float("nan"))]
)
def test_fractions_out_of_range_are_refused(validation, test):
    with pytest.raises(SplitError, match=f"validation {validation} and test {test}; expected .* sum below 1"):
        parts(np.arange(10) % 2, validation, test)


def test_too_few_rows_are_refused():
    with pytest.raises(SplitError, match=r"3 rows in 2 classes are too few for a validation fraction of 0.1"):
        parts([0, 1, 0])


def test_a_fingerprint_follows_the_content():
    columns = {"x": np.arange(3.0), "s": np.array(["a", None, ""], object)}
    known = fingerprint(columns)
    assert known == fingerprint(dict(reversed(columns.items())))
    assert known == fingerprint({name: column.copy() for name, column in columns.items()})
    for changed in (
        {"x": np.array([0.0, 1.0, 2.5])},
        {"x": np.arange(3, dtype=np.float32)},
        {"x": np.arange(3.0).reshape(3, 1)},
        {"s": np.array(["a", "", ""], object)},
        {"z": np.arange(3.0)},
    ):
        assert fingerprint(columns | changed) != known


def test_a_class_that_only_the_published_test_rows_have_is_told():
    with pytest.raises(SplitError, match=r"class 'c' is only in the test rows.*leave those rows"):
        parts(np.array(["a", "b", "a", "b", "c"], object), test=0.4, fixed_test=np.array([3, 4]))
