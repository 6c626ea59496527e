"""What makes a model fit what it has not seen: smoothed targets, penalties, changed images, folds."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.on_backend import printed_on
from tests.models.resumed import SPECS, X, Y, digests, trained
from tidegate.models.config.losses import check_smoothing, loss_named, with_label_smoothing
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Augmentation
from tidegate.models.errors import OptionsError, SplitError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.splitting.splits import fold_rows
from tidegate.models.training.augmentation import augmented
from tidegate.models.training.compile import compile_model
from tidegate.models.training.cross_validation import cross_validate
from tidegate.models.training.measures.loss_functions import loss_function
from tidegate.models.training.recipe import Recipe

# Keras' own, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ALL = {"flip": "both", "rotate": 30, "shift": 0.2, "noise": 0.1}


def test_smoothing_mixes_the_targets_with_the_even_distribution() -> None:
    """-sum t ln p, with t = (1 - s) one-hot + s / K."""
    answers, y, part = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]), np.array([0, 2]), 0.3
    target = (1 - part) * np.eye(3)[y] + part / 3
    expected = -(target * np.log(answers)).sum(axis=1).mean()
    loss = with_label_smoothing(loss_named(None, "classification", 3), part)
    assert loss.target == "one_hot"
    assert float(loss_function(loss)(np.eye(3)[y], answers)) == pytest.approx(expected, rel=1e-6)
    assert with_label_smoothing(loss, 0.0) is loss


@pytest.mark.parametrize(
    ("loss", "part", "said"),
    [
        ("mse", 0.1, r"label_smoothing' is 0.1 and the loss is 'mean_squared_error'"),
        ("kl_divergence", 0.1, r"expected one of: sparse_categorical_crossentropy"),
        ({"name": "categorical_crossentropy", "label_smoothing": 0.2}, 0.1, r"with no smoothing of its own"),
    ],
)
def test_smoothing_of_what_has_no_classes_is_refused(loss: Any, part: float, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        check_smoothing(part, loss, None)


def test_a_smoothed_training_is_less_sure() -> None:
    sure = [predict(trained({"epochs": 12, "label_smoothing": part})[0], {"x": X}).max() for part in (0, 0.4)]
    assert sure[1] < sure[0]


def test_penalties_are_in_the_loss_and_not_in_the_model_that_is_saved(tmp_path: Path) -> None:
    model = build_model({"family": "mlp", "hidden": [4]}, SPECS, outputs_for("classification", 2, 0), 1)
    rows = ({"x": X}, Y)
    options = parse_options(Training, {"regularization": {"l1": 0.1, "l2": 0.2}}, "training")
    compile_model(model, rows, options, "classification", 2, 3)
    kernels = [array for array in model.get_weights() if array.ndim == 2]
    assert len(kernels) == 2
    expected = sum(0.1 * np.abs(kernel).sum() + 0.2 * (kernel**2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").losses == []


def test_a_penalty_beside_the_models_own_is_refused() -> None:
    model = build_model({"family": "mlp", "l2": 0.1}, SPECS, outputs_for("classification", 2, 0), 1)
    options = parse_options(Training, {"regularization": {"l2": 0.2}}, "training")
    with pytest.raises(OptionsError, match=r"has a penalty of its own on 'dense.*/kernel'.*model\.l2"):
        compile_model(model, ({"x": X}, Y), options, "classification", 2, 3)


def test_l2_makes_weights_smaller_and_l1_makes_some_vanish() -> None:
    def kernels(penalty: dict[str, float] | None) -> np.ndarray:
        model, _ = trained({"epochs": 20, "regularization": penalty})
        return np.concatenate([array.ravel() for array in model.get_weights() if array.ndim > 1])

    free, small, sparse = (kernels(given) for given in (None, {"l2": 0.1}, {"l1": 0.05}))
    assert np.square(small).sum() < 0.7 * np.square(free).sum()
    assert (np.abs(sparse) < 0.005).mean() > 3 * (np.abs(free) < 0.005).mean()


def changed(image: np.ndarray, **options: Any) -> np.ndarray:
    """The same image (height, width, channels) changed 64 times."""
    tensor = keras.Input(image.shape, name="x")
    model = keras.Model({"x": tensor}, keras.layers.Identity()(tensor))
    around = augmented(model, ["x"], Augmentation(**options), 3)
    rows = np.repeat(image[None], 64, axis=0)
    np.testing.assert_array_equal(np.asarray(around({"x": rows}, training=False)), rows)
    return np.asarray(around({"x": rows}, training=True))


def test_images_are_changed_as_asked() -> None:
    image = np.random.default_rng(1).random((6, 4, 2)).astype(np.float32)
    for flip, ways in (("horizontal", [image[:, ::-1]]), ("vertical", [image[::-1]])):
        for found in changed(image, flip=flip):
            assert any(np.array_equal(found, way) for way in [image, *ways])
    both = {found.tobytes() for found in changed(image, flip="both")}
    assert both == {image[::a, ::b].tobytes() for a in (1, -1) for b in (1, -1)}
    noise = changed(image, noise=0.2) - image
    assert float(noise.std()) == pytest.approx(0.2, rel=0.1) and abs(float(noise.mean())) < 0.02
    spot = np.zeros((21, 21, 1), np.float32)
    spot[10, 10] = 1
    rows, columns = np.arange(21.0)[None, :, None, None], np.arange(21.0)[None, None, :, None]
    shifted = changed(spot, shift=0.2)
    for places in (rows, columns):
        moved = (shifted * places).sum(axis=(1, 2, 3)) / shifted.sum(axis=(1, 2, 3)) - 10
        assert np.abs(moved).max() <= 0.2 * 21 + 0.01 and moved.std() > 1
    spot[10, 10], spot[10, 18] = 0, 1
    turned = changed(spot, rotate=45)
    weight = turned.sum(axis=(1, 2, 3))
    angles = np.degrees(
        np.arctan2(
            (turned * (rows - 10)).sum(axis=(1, 2, 3)) / weight,
            (turned * (columns - 10)).sum(axis=(1, 2, 3)) / weight,
        )
    )
    assert np.abs(angles).max() < 48 and angles.std() > 15


def test_what_is_no_image_is_not_changed_and_a_model_of_none_is_refused() -> None:
    tensors = {"x": keras.Input((4, 4, 1), name="x"), "n": keras.Input((2,), name="n")}
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(tensors["x"]), tensors["n"]])
    model = keras.Model(tensors, joined)
    around = augmented(model, ["x"], Augmentation(noise=1.0), 1)
    rows = {"x": np.zeros((3, 4, 4, 1), np.float32), "n": np.ones((3, 2), np.float32)}
    np.testing.assert_array_equal(np.asarray(around(rows, training=True))[:, 16:], rows["n"])
    with pytest.raises(
        OptionsError, match=r"the model's inputs are n \(2,\), x \(4, 4, 1\); expected an image"
    ):
        augmented(model, [], Augmentation(noise=1.0), 1)


def test_an_augmented_training_is_repeatable_seeded_and_another_one() -> None:
    again = [trained({"augmentation": ALL})[0].get_weights() for _ in range(2)]
    plain = trained({})[0].get_weights()
    for first, second in zip(*again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert any(not np.array_equal(first, second) for first, second in zip(again[0], plain, strict=True))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_an_augmented_training_that_is_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, precision: str
) -> None:
    assert len(set(digests({"augmentation": ALL, "precision": precision}, tmp_path))) == 1


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("jax", marks=pytest.mark.slow),  # it compiles each batch's step anew in every process
        pytest.param("torch", marks=pytest.mark.torch),
    ],
)
def test_the_same_on_another_backend(backend: str, tmp_path: Path) -> None:
    found = printed_on(
        backend, "-m", "tests.models.resumed", json.dumps({"augmentation": ALL}), str(tmp_path)
    )
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"augmentation": {}}, "augmentation changes nothing; expected one of flip, rotate, shift, noise"),
        ({"augmentation": {"flip": "sideways"}}, "'horizontal', 'vertical' or 'both'"),
        ({"augmentation": {"shift": 1}}, "'training.augmentation.shift' is 1"),
        ({"augmentation": {"zoom": 1}}, "unknown option 'training.augmentation.zoom'"),
        (
            {"backend": "numpy", "optimizer": "sgd", "augmentation": {"noise": 1}},
            "backend numpy has no augmentation",
        ),
        ({"regularization": {"l3": 1}}, "unknown option 'training.regularization.l3'"),
        ({"regularization": {"l2": -1}}, "'training.regularization.l2' is -1"),
        ({"label_smoothing": 1}, "'training.label_smoothing' is 1"),
    ],
)
def test_wrong_options_are_told(training: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError) as caught:
        parse_options(Training, training, "training")
    assert said in str(caught.value)


def rows_of_classes(labels: list[str]) -> tuple[Any, dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    y = np.array(labels, object)
    columns = {"a": random.normal(size=len(y)) + 3.0 * (y == "yes"), "y": y}
    return infer_schema(columns, None, ["y"], None), columns


def test_every_row_is_in_one_fold_and_each_class_is_spread() -> None:
    schema, columns = rows_of_classes(["yes"] * 20 + ["no"] * 40)
    folds = fold_rows(schema, columns, 4, 1)
    assert sorted(np.concatenate([own for _, own in folds]).tolist()) == list(range(60))
    for others, own in folds:
        assert len(own) == 15 and (columns["y"][own] == "yes").sum() == 5
        assert not set(others.tolist()) & set(own.tolist())


def test_too_few_rows_for_the_folds_are_told() -> None:
    schema, columns = rows_of_classes(["yes", "no", "no"])
    with pytest.raises(SplitError, match=r"folds is 5 and there are 3 rows.*lower folds"):
        fold_rows(schema, columns, 5, 1)
    with pytest.raises(SplitError, match=r"class 'yes' has one row.*leave folds out"):
        fold_rows(*rows_of_classes(["yes"] + ["no"] * 9), 2, 1)


def test_folds_give_the_mean_and_the_samples_standard_deviation() -> None:
    schema, columns = rows_of_classes(["yes"] * 30 + ["no"] * 30)
    training = parse_options(Training, {"epochs": 15}, "training").model_dump(mode="json")
    recipe = Recipe({"family": "linear"}, training, schema.target, 1)
    told: list[dict[str, float]] = []

    split = {"folds": 3, "seed": 1, "validation": 0.1}
    found = cross_validate(
        recipe, schema, columns, split, lambda _: nullcontext(), lambda _, values: told.append(values)
    ).values
    accuracy = [values["accuracy"] for values in told]
    assert len(accuracy) == 3 and found["folds_accuracy_mean"] > 0.75
    assert found["folds_accuracy_mean"] == pytest.approx(np.mean(accuracy))
    loss = [values["loss"] for values in told]
    assert (
        found["folds_loss_std"] == pytest.approx(np.sqrt(np.var(loss) * 3 / 2))
        and found["folds_loss_std"] > 0
    )
