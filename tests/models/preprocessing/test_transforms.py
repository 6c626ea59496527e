import json

import numpy as np
import pytest

from tidegate.models.data.columns import take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.transforms import InputSpec, Transforms


def strings(*values):
    return np.array(values, object)


def fitted(columns, target="y", inputs=None, task=None):
    schema = infer_schema(columns, inputs, [target], task)
    return Transforms.fit(schema, columns)


def everything():
    generator = np.random.default_rng(0)
    return {
        "age": np.array([20.0, 40.0, np.nan, 60.0] * 5),
        "rooms": np.arange(20),
        "city": strings("Bern", "Basel", None, "Chur").repeat(5),
        "a review": strings(*["One two, three four five", "two three four five"] * 10),
        "photo": generator.integers(0, 256, (20, 3, 3), np.uint8),
        "signal": generator.normal(50, 7, (20, 4)),
        "y": np.arange(20) % 2,
    }


def test_numbers_are_standardised_and_missing_ones_are_the_mean():
    columns = {"x": np.array([1.0, 3.0, np.nan]), "y": np.array([0, 1, 0])}
    transforms = fitted(columns)
    given = {"x": np.array([1.0, 3.0, np.nan, 2.0, -np.inf])}
    assert transforms.apply(given)["features"].ravel().tolist() == [-1, 1, 0, 0, 0]
    assert transforms.apply({"x": strings(None, 3)})["features"].ravel().tolist() == [0, 1]


def test_constant_and_empty_columns_are_zero():
    columns = {"same": np.full(3, 0.1), "none": np.full(3, np.nan), "y": np.array([0, 1, 0])}
    np.testing.assert_allclose(fitted(columns).apply(columns)["features"], 0, atol=1e-12)


def test_huge_numbers_stay_finite():
    columns = {"x": np.array([0.0, 1.0]), "y": np.array([0, 1])}
    assert fitted(columns).apply({"x": np.array([1e300, -1e300])})["features"].ravel().tolist() == [1e6, -1e6]


def test_unseen_and_missing_categories_are_all_zeros():
    columns = {"city": strings("b", "a", "b"), "y": np.array([0, 1, 0])}
    transforms = fitted(columns)
    assert transforms.categories == {"city": ["a", "b"]}
    encoded = transforms.apply({"city": strings("a", "b", "zzz", None)})["features"]
    assert encoded.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]


def test_only_the_thousand_most_frequent_categories_are_known_and_the_rest_share_one():
    names = [f"v{number}" for number in range(1500)]
    columns = {"id": strings(*names, *names[700:], *names[700:]), "y": np.arange(3100) % 2}
    with recorded() as told:
        transforms = fitted(columns)
    known = transforms.categories["id"]
    assert len(known) == 1000
    assert set(names[700:]) < set(known)
    assert len(told) == 1
    assert "1500 different values" in told[0]
    assert "500 rows have another one, and share `other`" in told[0]
    encoded = transforms.apply({"id": strings("v0", "v699", "v1499", "never seen", None)})["features"]
    assert encoded[:, -1].tolist() == [0, 1, 0, 1, 0]
    assert encoded.sum(axis=1).tolist() == [1, 1, 1, 1, 0]


def test_words_are_numbered_by_frequency_and_unseen_words_are_one():
    columns = {
        "t": strings("the film was the best", "The film? no no, never", None),
        "y": np.array([0, 1, 0]),
    }
    transforms = fitted(columns)
    assert transforms.input_specs == {"t": InputSpec((5,), "int32", "text", 8)}
    encoded = transforms.apply({"t": strings("THE film", "a film of the year, the best", None, "")})["t"]
    assert encoded.tolist() == [[2, 3, 0, 0, 0], [1, 3, 1, 2, 1], [0] * 5, [0] * 5]


@pytest.mark.parametrize(("brightest", "divisor"), [(16, 16), (200, 255), (0, 1)])
def test_gray_images_get_a_channel_and_are_divided_by_what_fits(brightest, divisor):
    columns = {"i": np.full((3, 2, 2), brightest, np.uint8), "y": np.array([0, 1, 0])}
    encoded = fitted(columns).apply(columns)["i"]
    assert encoded.shape == (3, 2, 2, 1)
    np.testing.assert_allclose(encoded, brightest / divisor, rtol=1e-6)


def test_colour_images_of_floats_lose_their_nan():
    columns = {"i": np.ones((2, 2, 2, 3)), "y": np.array([0, 1])}
    transforms = fitted(columns, inputs=[{"name": "i", "kind": "image"}])
    assert (
        transforms.apply({"i": np.full((1, 2, 2, 3), np.nan)})["i"].tolist()
        == np.zeros((1, 2, 2, 3)).tolist()
    )


def test_arrays_are_standardised_by_one_mean_and_scale():
    columns = everything()
    encoded = fitted(columns).apply(columns)["signal"]
    assert encoded.dtype == np.float32
    np.testing.assert_allclose([encoded.mean(), encoded.std()], [0, 1], atol=1e-5)


def test_each_input_has_its_spec_and_a_name_that_keras_takes():
    columns = everything()
    transforms = fitted(columns)
    encoded = transforms.apply(columns)
    assert list(encoded) == ["features", "a_review", "photo", "signal"]
    for name, spec in transforms.input_specs.items():
        assert encoded[name].shape == (20, *spec.shape)
        assert encoded[name].dtype == spec.dtype


def test_a_field_called_features_keeps_its_own_input():
    columns = {"features": np.ones((2, 3)), "x": np.arange(2.0), "y": np.array([0, 1])}
    assert fitted(columns).input_specs["features"].shape == (1,)
    assert fitted(columns).input_specs["features_"].shape == (3,)


def test_transforms_survive_json_and_a_row_alone_is_as_in_a_batch():
    columns = everything()
    transforms = fitted(columns)
    back = Transforms.from_dict(json.loads(json.dumps(transforms.to_dict())))
    assert list(back.input_specs.items()) == list(transforms.input_specs.items())
    whole = transforms.apply(columns)
    for row in range(20):
        alone = back.apply(take(columns, np.array([row])))
        for name in whole:
            np.testing.assert_array_equal(alone[name][0], whole[name][row])


def test_the_dtype_that_carries_a_number_does_not_matter():
    columns = everything()
    transforms = fitted(columns)
    widened = columns | {"rooms": columns["rooms"].astype(float), "photo": columns["photo"].astype(float)}
    for name, encoded in transforms.apply(widened).items():
        np.testing.assert_array_equal(encoded, transforms.apply(columns)[name])


def test_inputs_without_any_category_are_refused():
    with pytest.raises(SchemaError, match="inputs city have no value in any training row"):
        fitted({"city": strings(None, None), "y": np.array([0, 1])})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (strings("b", "a", "b"), [1, 0, 1]),
        (strings("True", "false", "true"), [1, 0, 1]),
        (np.array([True, False, True]), [1, 0, 1]),
        (np.array([9.0, -1.0, 9.0]), [1, 0, 1]),
    ],
)
def test_classes_are_encoded_as_positions(labels, expected):
    columns = {"x": np.arange(3.0), "y": labels}
    encoded = encode_target(infer_schema(columns, None, ["y"], None), columns)
    assert (encoded.tolist(), encoded.dtype) == (expected, np.int64)


def test_a_regression_target_has_a_column_an_output():
    columns = {"x": np.arange(3.0), "a": np.array([1, 2, 3]), "b": np.array([0.5, 0.25, 0])}
    encoded = encode_target(infer_schema(columns, None, ["a", "b"], None), columns)
    assert (encoded.tolist(), encoded.dtype) == ([[1, 0.5], [2, 0.25], [3, 0]], np.float32)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.0, np.nan, 1.0]), "'y' has no value in 1 of 3 rows"),
        (np.array([0, 7, 1]), "'y' holds the class 7; expected one of 0, 1; train again"),
    ],
)
def test_an_unknown_or_missing_class_is_refused(labels, message):
    columns = {"x": np.arange(3.0), "y": np.array([0, 1, 1])}
    schema = infer_schema(columns, None, ["y"], None)
    with pytest.raises(SchemaError, match=message):
        encode_target(schema, columns | {"y": labels})
