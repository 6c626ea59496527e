"""Training on masks: classes that weigh, pixels without a class, metrics of each epoch, flips, a killed training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.training.test_checkpoint import Files, state
from tidegate.models.config.losses import check_loss, loss_named
from tidegate.models.config.training_parts import Augmentation
from tidegate.models.errors import OptionsError, StoppedError, UserModelError
from tidegate.models.evaluation.dense_metrics import segmentation_metrics
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.networks.user_models.own_training import OwnTraining, keep_own_training
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.augmentation import augmented
from tidegate.models.training.fit import History, fit
from tidegate.models.training.measures.loss_functions import loss_function
from tidegate.models.training.measures.pixel_metrics import pixel_metric

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
RANDOM = np.random.default_rng(0)
X = RANDOM.random((24, 6, 6, 1)).astype(np.float32)
Y = np.digitize(X[..., 0], [0.3, 0.9])  # few pixels are of the last class
SPECS = {"x": InputSpec((6, 6, 1), "float32", "image")}
MODEL = {"family": "unet", "filters": 4, "depth": 1, "convolutions": 1, "dropout": 0.2}
TARGET = Target(
    names=("m",), task="segmentation", classes=("a", "b", "c"), shape=(6, 6), values=(0, 1, 2), ignored=9
)
EACH = TARGET.model_copy(update={"ignored": None})


def trained(
    y: np.ndarray, keeper: Files | None = None, target: Target = EACH, **training: Any
) -> tuple[Any, History]:
    model = build_model(MODEL, SPECS, outputs_for("segmentation", 3, 36, None, shape=(6, 6)), 1)
    asked = {"epochs": 2, "batch_size": 8, "checkpoint": {"every": 1}, **training}
    held = ({"x": X[16:]}, y[16:])
    history = fit(
        model, ({"x": X[:16]}, y[:16]), held, asked, task="segmentation", classes=("a", "b", "c"),
        target=target, seed=5, images=["x"], checkpoints=keeper,
    )  # fmt: skip
    return model, history


def test_the_metrics_of_an_epoch_are_those_of_held_out_rows_without_ignored_pixels() -> None:
    y = np.where(RANDOM.random(Y.shape) < 0.2, -1, Y)
    model, history = trained(y, target=TARGET, metrics=["accuracy", "mean_iou"])
    answers = predict(model, {"x": X[16:]})
    found = segmentation_metrics(y[16:], answers.reshape(8, -1).astype(np.float64), TARGET.classes)
    last = history.epochs[-1]
    for name, other in (("val_loss", "loss"), ("val_accuracy", "accuracy"), ("val_mean_iou", "mean_iou")):
        assert last[name] == pytest.approx(found[other], abs=1e-5), name
    assert {"iou_a", "iou_b", "iou_c"} <= set(found)


def test_what_counts_all_pixels_is_refused_where_some_have_no_class() -> None:
    y = np.where(np.arange(6) < 2, -1, Y)
    with pytest.raises(OptionsError, match=r"loss 'dice' counts all pixels, and data.target ignores some"):
        trained(y, target=TARGET, loss="dice")
    with pytest.raises(OptionsError, match=r"metrics poisson in 'training.metrics' count all pixels"):
        trained(y, target=TARGET, metrics=["poisson"])


def test_label_smoothing_is_named_where_it_counts_pixels_without_a_class() -> None:
    with pytest.raises(OptionsError, match=r"training.label_smoothing' is 0.1, for which a loss counts all"):
        trained(np.where(np.arange(6) < 2, -1, Y), target=TARGET, label_smoothing=0.1)


@pytest.mark.parametrize("loss", ["dice", "tversky"])
def test_a_loss_of_overlap_trains_and_takes_no_weights_of_rows(loss: str) -> None:
    check_loss(loss, None)
    check_loss(loss, "segmentation")
    model, history = trained(Y, loss={"name": loss}, epochs=3)
    losses = [epoch["loss"] for epoch in history.epochs]
    assert losses[-1] < losses[0]
    with pytest.raises(
        OptionsError, match=rf"'data.weight' is given and the loss is '{loss}', which is not one"
    ):
        fit(
            model, ({"x": X}, Y), None, {"epochs": 1, "batch_size": 8, "loss": loss}, task="segmentation",
            classes=("a", "b", "c"), target=EACH, seed=5, weights=np.ones(24, np.float32),
        )  # fmt: skip


@pytest.mark.parametrize("ignored", [None, -1])
def test_a_loss_that_build_compiled_must_ignore_what_the_target_ignores(ignored: int | None) -> None:
    y = np.where(np.arange(6) < 2, -1, Y)
    model = build_model(MODEL, SPECS, outputs_for("segmentation", 3, 36, None, shape=(6, 6)), 1)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(ignore_class=ignored))
    keep_own_training(model, OwnTraining(model, (), True))

    def fitted() -> History:
        return fit(
            model, ({"x": X}, y), None, {"epochs": 1, "batch_size": 8}, task="segmentation",
            classes=("a", "b", "c"), target=TARGET, seed=5,
        )  # fmt: skip

    if ignored is None:
        with pytest.raises(UserModelError, match=r"its loss has no ignore_class; expected SparseCategorical"):
            fitted()
    else:
        assert np.isfinite(fitted().epochs[0]["loss"])


def test_classes_and_rows_weigh_as_stated_in_the_loss_of_each_pixel() -> None:
    model = {"family": "unet", "filters": 4, "depth": 1, "convolutions": 1, "batch_norm": False}
    built = build_model(model, SPECS, outputs_for("segmentation", 3, 36, None, shape=(6, 6)), 1)
    entropy = -np.log(np.take_along_axis(predict(built, {"x": X}), Y[..., None], axis=-1)[..., 0])
    weights = np.linspace(0, 2, 24, dtype=np.float32)
    asked = {"epochs": 1, "batch_size": 24, "class_weights": {"c": 20, "a": 0.5}}
    history = fit(
        built, ({"x": X}, Y), None, asked, task="segmentation", classes=("a", "b", "c"), target=EACH, seed=5,
        weights=weights,
    )  # fmt: skip
    expected = (entropy * np.array([0.5, 1, 20])[Y] * weights[:, None, None]).mean()
    assert history.epochs[0]["loss"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(
        OptionsError, match=r"class_weights' is given and the loss is 'dice', which is not one"
    ):
        trained(Y, loss="dice", class_weights="balanced")


@pytest.mark.parametrize("one", [False, True], ids=["a probability a class", "one of two"])
def test_the_pixel_metrics_take_every_form_of_a_target(one: bool) -> None:
    classes = 2 if one else 3
    y = RANDOM.integers(0, classes, (5, 4, 4))
    p = RANDOM.dirichlet(np.ones(classes), (5, 4, 4)).astype(np.float32)
    expected = segmentation_metrics(y, p.reshape(5, -1).astype(np.float64), range(classes))
    for true in (y[..., None], np.eye(classes)[y]) if not one else (y[..., None],):
        for name in ("accuracy", "mean_iou"):
            metric = pixel_metric(name, classes)
            for part in (slice(0, 2), slice(2, 5)):
                metric.update_state(true[part], p[part][..., 1:] if one else p[part])
            assert float(metric.result()) == pytest.approx(expected[name], abs=1e-6)


def test_more_pixels_than_float32_can_count_are_counted() -> None:
    metric = pixel_metric("accuracy", 2)
    metric.counts.assign(np.array([[[1, 0], [1, 0], [1, 0]], [[2**24 - 1, 0]] * 3], np.int32))
    metric.update_state(np.zeros((1, 3, 1)), np.float32([[[1, 0]] * 3]))
    np.testing.assert_array_equal(np.asarray(metric.counts)[:, :, 0], [[2, 2, 2], [2, 2, 2]])
    assert float(metric.result()) == 1.0


def test_a_flipped_pixel_that_is_surely_wrong_is_still_learned_from() -> None:
    """Keras clips probabilities at 1e-7, beyond which there is no gradient, unless it knows their logits."""
    tensor = keras.Input((2, 2, 2), name="x")
    scaled = keras.layers.Dense(2, use_bias=False, kernel_initializer="identity", activation="softmax")
    around = augmented(
        keras.Model({"x": tensor}, scaled(tensor)), ["x"], Augmentation(flip="both"), 3,
        target=Target(names=("m",), task="segmentation", classes=(0, 1), shape=(2, 2)),
    )  # fmt: skip
    rows = np.zeros((8, 2, 2, 2), np.float32)
    rows[..., 0] = 60
    answer = around({"x": rows}, training=True)
    loss = loss_function(loss_named("sparse_categorical_crossentropy", "segmentation", 2))
    assert float(loss(np.ones((8, 2, 2)), answer)) == pytest.approx(60, rel=1e-4)


def test_a_flipped_image_is_answered_for_the_image_that_was_given() -> None:
    """The network answers what it is given, so that its answers, flipped back, are the image itself."""
    tensor = keras.Input((4, 6, 2), name="x")
    around = augmented(
        keras.Model({"x": tensor}, keras.layers.Identity()(tensor)), ["x"], Augmentation(flip="both"), 3,
        target=Target(names=("m",), task="segmentation", classes=(0, 1), shape=(4, 6)),
    )  # fmt: skip
    rows = RANDOM.random((16, 4, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(around({"x": rows}, training=True)), rows)
    turned = [layer for layer in around.layers if isinstance(layer, keras.layers.RandomFlip)]
    assert len(turned) == 2
    ones = np.asarray(turned[0](rows, training=True))
    assert any(not np.array_equal(*pair) for pair in zip(ones, rows, strict=True))


@pytest.mark.parametrize("moved", [{"rotate": 10.0}, {"flip": "both", "shift": 0.1}])
def test_what_would_not_move_the_mask_is_refused(moved: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="would not move along; expected flip and noise alone"):
        trained(Y, augmentation=moved)


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    options = {"augmentation": {"flip": "both", "noise": 0.01}, "class_weights": "balanced"}
    whole, _ = trained(Y, Files(tmp_path), **options)
    (tmp_path / "killed").mkdir()
    stops = 0
    while True:
        try:
            model, history = trained(Y, Files(tmp_path / "killed", most=3), **options)
            break
        except StoppedError:
            stops += 1
    assert stops and history.resumed is not None
    assert state(model) == state(whole)
