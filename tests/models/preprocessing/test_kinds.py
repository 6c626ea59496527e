import numpy as np
import pytest

from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.encoders import InputSpec
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms

random = np.random.default_rng(1)
ROWS = 120


def strings(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def numbers(texts):
    return [text.format(row) for row, text in enumerate([texts] * ROWS)]


def schema_of(column, **stated):
    columns = {"x": column, "y": np.arange(len(column)) % 2}
    return infer_schema(columns, [{"name": "x", **stated}], ["y"], None)


def encoded(column, *, asked=None, name=None, **stated):
    transforms = Transforms.fit(schema_of(column, **stated), {"x": column, "y": np.zeros(len(column))})
    return transforms.apply({"x": column if asked is None else asked})[
        name or next(iter(transforms.input_specs))
    ]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (strings(["Bonn", "Ulm", None] * 40), "categorical"),
        (strings(["ja", "nein"] * 60), "categorical"),
        (strings([f"2025-01-{1 + row % 28:02}" for row in range(ROWS)]), "date"),
        (strings([f"{1 + row % 28}.1.2025" for row in range(ROWS)]), "date"),
        (strings(numbers("row {} has a text of its own")), "text"),
        (np.arange(ROWS), "numeric"),
        (np.arange(4.0 * ROWS).reshape(ROWS, 4), "numeric"),
        (random.integers(0, 255, (ROWS, 4, 4)).astype(np.uint8), "image"),
        (random.integers(1, 2000, (ROWS, 30)), "id"),
        (np.where(np.arange(30) < 20, random.integers(1, 2000, (ROWS, 30)), 0), "id"),
        (np.where(np.arange(30) >= 20, random.integers(1, 2000, (ROWS, 30)), 0), "id"),
        (random.integers(0, 255, (ROWS, 64)) * random.integers(0, 2, (ROWS, 64)), "numeric"),  # pixels
        (random.integers(-9, 2000, (ROWS, 30)), "numeric"),
        (random.integers(1, 9, (ROWS, 30)), "numeric"),  # classes, flags
        (random.integers(1, 2000, (ROWS, 5)) * [1, 1, 100, 1, 1], "numeric"),  # age, height, salary
        (200 + random.integers(-5, 6, (ROWS, 40)).cumsum(axis=1), "numeric"),  # a series
    ],
)
def test_the_kind_is_told_from_the_values(column, kind):
    with recorded():
        assert schema_of(column).inputs[0].kind == kind


@pytest.mark.parametrize("column", [random.integers(1, 2000, (ROWS, 30)), random.integers(1, 9, (ROWS, 30))])
def test_what_becomes_of_whole_numbers_in_arrays_is_told_unless_it_was_stated(column):
    with recorded() as told:
        schema_of(column)
    assert len(told) == 1
    assert "30 whole numbers a row" in told[0]
    assert "kind: " in told[0]
    for kind in ("id", "numeric"):
        with recorded() as told:
            assert schema_of(column, kind=kind).inputs[0].kind == kind
        assert told == []


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ("id-{}", "expected categories, which repeat"),
        ("{} kg", "numbers with a unit"),
        ("€ {},50", "numbers with a unit"),
        ("1.{}00,00 EUR", "expected"),
        ("images/{}.png", "format: image_folder"),
        ("{}.wav", "format: audio_folder"),
        ("{}/02/2025", "expected"),
        ("{}.5", "kind: numeric"),
        ("5 Jan 2{:03}", "kind: date, format: '%d %b %Y'"),
        ("1/{}/21 3:05 PM", "expected categories"),
        ("02/01/2{:03} 3:05 PM", "kind: date, format: '%m/%d/%Y %I:%M %p'"),
    ],
)
def test_texts_that_hardly_repeat_are_refused_unless_a_kind_is_stated(texts, sentence):
    column = strings(numbers(texts))
    with pytest.raises(SchemaError, match=sentence):
        schema_of(column)
    for kind in ("categorical", "text", "id"):
        assert schema_of(column, kind=kind).inputs[0].kind == kind


def test_few_rows_may_all_be_different():
    assert schema_of(strings(["a", "b", "c", "d"])).inputs[0].kind == "categorical"


@pytest.mark.parametrize(
    ("column", "stated", "sentence"),
    [
        (np.array([1.0, 2.5]), {"kind": "integer"}, "holds 2.5; expected whole numbers"),
        (strings(["a", "b"]), {"kind": "number"}, "holds strings, such as 'a'; expected numbers"),
        (np.arange(3), {"kind": "date"}, "expected dates as text"),
        (strings(["1/2/2025", "2/3/2025"]), {}, "day and month cannot be told apart"),
        (strings(["1/2/2025", "2/3/2025"]), {"kind": "date"}, "day and month cannot be told apart"),
        (strings(["2025-01-01", "soon"]), {"kind": "date"}, "format year_first, and holds 'soon'"),
        (strings(["2025-01-01", "soon"]), {"kind": "date", "format": "year_first"}, "holds 'soon'"),
        (np.arange(3), {"limit": 4}, "expected them only for categorical"),
        (strings(["a", "b"]), {"scale": "log"}, "expected them only for image or numeric"),
        (strings(["a", "b"]), {"missing": "mean"}, "only numbers have a mean"),
        (np.ones((3, 2)), {"missing": "own"}, "one a row"),
        (strings(["a", "b"]), {"kind": "id", "unknown": 2}, "expected it only for lists"),
        (np.zeros((3, 4, 4), np.uint8), {"scale": "log"}, "expected none, for the stored numbers"),
        (
            np.ones((3, 2)),
            {"kind": "id", "vocabulary": 10, "unknown": 10},
            "expected unknown to be one of the ids",
        ),
        (strings(["2025-01-01"]), {"kind": "date", "format": "month_frist"}, "did you mean month_first"),
        (np.array([1e300, -2.0]), {}, r"up to 1e\+300, which are too large.*state scale: log"),
        (np.array([1e39, -2.0]), {"scale": "none"}, "too large for scale: none"),
        (np.array([[1e-300, np.nan], [0.0, -3e-300]]), {}, "up to 3e-300, which are too small.*multiply"),
    ],
)
def test_a_kind_or_an_option_that_does_not_fit_is_refused(column, stated, sentence):
    with pytest.raises(SchemaError, match=sentence):
        schema_of(column, **stated)


@pytest.mark.parametrize(
    ("column", "scale"),
    [
        (np.array([1e300, -2.0, 5.0]), "log"),
        (np.array([3e-300, 1e-300, 2e-300]), "minmax"),
        (np.zeros(3), None),
    ],
)
def test_large_and_small_numbers_that_fit_their_scale_are_scaled(column, scale):
    found = encoded(column, scale=scale)
    assert np.isfinite(found).all() and len(np.unique(found)) == len(np.unique(column))


def test_whole_numbers_stay_whole_though_some_are_missing():
    field = schema_of(np.array([1.0, np.nan, 3.0]), kind="integer").inputs[0]
    assert (field.kind, field.dtype) == ("numeric", "int64")


VALUES = np.array([0.0, 1.0, 2.0, 5.0, np.nan])


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"scale": "none"}, [0, 1, 2, 5, 2]),
        ({"scale": "none", "missing": "zero"}, [0, 1, 2, 5, 0]),
        ({"scale": "minmax"}, [0, 0.2, 0.4, 1, 0.4]),
        ({"scale": "robust"}, [-0.75, -0.25, 0.25, 1.75, 0.25]),
        ({"scale": "standard"}, [-1.0690, -0.5345, 0, 1.6036, 0]),
        ({"missing": "zero"}, [-1.0690, -0.5345, 0, 1.6036, -1.0690]),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_numbers_and_arrays_are_scaled_as_stated(stated, expected, shape):
    found = encoded(VALUES.reshape(-1, *shape), **stated)
    np.testing.assert_allclose(found.ravel(), expected, atol=2e-4)


def test_a_logarithm_is_scaled_and_large_raw_numbers_stay():
    found = encoded(np.array([0.0, 9.0, 99.0, -9.0]), scale="log").ravel()
    assert found[1] == pytest.approx(-found[3] + 2 * found[0], abs=1e-6)
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert encoded(np.array([1.0, 5e7]), scale="none").ravel().tolist() == [1, 5e7]


def test_a_missing_value_of_its_own_has_a_feature():
    found = encoded(VALUES, missing="own")
    assert found.shape == (5, 2)
    assert found[:, 1].tolist() == [0, 0, 0, 0, 1]
    city = encoded(strings(["a", "b", None]), missing="own")
    assert city.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_limit_keeps_the_most_frequent_and_other_can_be_left_out():
    column = strings(["a"] * 5 + ["b"] * 4 + ["c"] * 3)
    with recorded() as told:
        assert encoded(column, limit=2)[[0, 5, 9]].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        assert encoded(column, limit=2, other=False)[[0, 5, 9]].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert "3 rows have another one, and share `other`" in told[0]
    assert "3 rows have another one, and get no category" in told[1]


@pytest.mark.parametrize(
    "column", [strings(["u7", "u3", "u7"]), np.array([7, 3, 7]), np.array([7.0, 3.0, 7.0])]
)
def test_single_ids_are_numbered_and_zero_is_unknown(column):
    asked = strings(["u3", "u9", None]) if column.dtype == object else np.array([3.0, 9.0, np.nan])
    assert encoded(column, asked=asked, kind="id").tolist() == [[1], [0], [0]]
    assert encoded(column, asked=asked, kind="id", missing="own").tolist() == [[1], [0], [3]]
    spec = Transforms.fit(schema_of(column, kind="id"), {"x": column}).input_specs["x"]
    assert spec == InputSpec((1,), "int32", "id", 3)


def test_lists_of_ids_stay_as_they_are():
    column = np.array([[1, 5, 9], [2, 0, 0]])
    asked = np.array([[9, 10, -1]])
    assert encoded(column, asked=asked, kind="id").tolist() == [[9, 0, 0]]
    assert encoded(column, asked=asked, kind="id", unknown=2, vocabulary=11).tolist() == [[9, 10, 2]]


def test_a_date_is_its_parts():
    column = strings(["2025-01-06", "2025-02-09", None])  # a Monday and a Sunday
    found = encoded(column)
    assert found.shape == (3, 21)
    assert found[0, [2, 9]].tolist() == [1, 1]
    assert found[1, [8, 10]].tolist() == [1, 1]
    assert found[:2, 2:].sum(axis=1).tolist() == [2, 2]
    assert found[:2, 0].tolist() == [-1, 1]
    assert not found[2].any()
    assert encoded(strings(["2025-01-06T06:00", "2025-01-07"])).shape == (2, 23)


def test_transforms_of_all_kinds_are_stored_and_describe_themselves():
    columns = {
        "n": np.array([1.0, np.nan, 3.0]),
        "c": strings(["a", "b", None]),
        "d": strings(["2025-01-06", "2025-02-09", None]),
        "u": np.array([4, 5, 6]),
        "y": np.array([0, 1, 0]),
    }
    inputs = [
        {"name": "n", "scale": "minmax", "missing": "own"},
        {"name": "c", "limit": 1},
        {"name": "d"},
        {"name": "u", "kind": "id"},
    ]
    with recorded():
        transforms = Transforms.fit(infer_schema(columns, inputs, ["y"], None), columns)
    again = Transforms.from_dict(transforms.to_dict())
    for name, array in transforms.apply(columns).items():
        np.testing.assert_array_equal(again.apply(columns)[name], array)
    assert again.described() == {
        "n": "scaled to 0…1, and whether it is missing",
        "c": "one-hot of 1 and other",
        "d": "as 21 numbers: days, day of month, weekday, month",
        "u": "ids 0…3, 0 is one not in the training rows",
    }
    unseen = columns | {"c": strings(["z", "a", None]), "u": np.array([4, 99, 99])}
    assert again.unseen(unseen) == {"c": 1, "u": 2}
    labels = again.labels("features", None)
    assert labels[:3] == ["n", "c=a", "c: other"]
    assert labels[-1] == "n missing"
    parts = {"features": np.ones((3, len(labels)), np.float32)}
    assert again.attributions_by_column(columns, parts)["d"] == [21.0] * 3


DAYS = [f"2021-{1 + row % 12:02}-{1 + row % 28:02}" for row in range(ROWS)]
GERMAN = [".".join(reversed(day.split("-"))) for day in DAYS]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        *(
            ([*DAYS[:5], bad, *DAYS[6:]], f"in 1 of 120 cells, first '{bad}' in row 6 .*kind: date}}")
            for bad in ("0000-00-00", "unknown", "2021-02-30")
        ),
        (["heute", *DAYS[1:]], "in 1 of 120 cells, first 'heute' in row 1"),
        ([*DAYS[:5], "01.02.2021", *DAYS[6:]], "first '01.02.2021' in row 6 .*format: day_first"),
        ([DAYS[row] if row % 2 else GERMAN[row] for row in range(ROWS)], "in 60 of 120 .*day_first"),
        ([f"{1 + row % 28:02}-Jan-2021" for row in range(ROWS)], "'01-Jan-2021', .*format: '%d-%b-%Y'"),
        ([f"03/{1 + row % 28:02}/2021 09:30 PM" for row in range(ROWS)], "format: '%m/%d/%Y %I:%M %p'"),
    ],
)
def test_dates_that_are_not_of_one_form_are_no_categories(texts, words):
    with pytest.raises(SchemaError, match=words):
        schema_of(strings(texts))
    assert schema_of(strings(texts), kind="categorical").inputs[0].kind == "categorical"


def test_dates_among_other_texts_are_told():
    with recorded() as told:
        assert schema_of(strings([*DAYS[:50], *["open"] * 70])).inputs[0].kind == "categorical"
    assert "in 70 of 120 cells, first 'open' in row 51" in told[0]
    with recorded() as told:
        schema_of(strings([*DAYS[:9], *["open"] * 111]))
    assert not told


def test_a_stated_date_names_the_bad_cell():
    with pytest.raises(SchemaError, match="kind date, format year_first, and holds 'unknown'"):
        schema_of(strings([*DAYS, "unknown"]), kind="date")
