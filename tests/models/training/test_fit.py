"""Training: what is learned, reported, stopped and refused."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.config.class_weights import class_weights
from tidegate.models.distributed.devices import configure_backend, gpus_seen, require_gpus
from tidegate.models.errors import GpuNotFoundError, NonFiniteLossError, OptionsError, TrainingError
from tidegate.models.evaluation.metrics import evaluate, to_predictions
from tidegate.models.families.build import build_model
from tidegate.models.loops.tensorflow import Loop, xla_pays
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import History, fit

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(203, 4)).astype(np.float32)
CLASSES = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
SPECS = {"x": InputSpec((4,), "float32", "numeric", 0)}
HEAD = outputs_for("classification", 2, 0)
NUMBERS = np.stack([X[:, 0] * 2, X[:, 1] - X[:, 2]], axis=1).astype(np.float32)


def trained(
    training: dict[str, Any], task: str = "classification", held_out: bool = True, **more: Any
) -> tuple[Any, History]:
    y, classes = (CLASSES, ("no", "yes")) if task == "classification" else (NUMBERS, ())
    outputs = outputs_for(task, len(classes), 2, training.get("loss"))
    model = build_model(more.pop("model", {"family": "linear"}), SPECS, outputs, 1)
    rows = ({"x": more.pop("x", X)[:150]}, y[:150])
    others = ({"x": X[150:]}, y[150:]) if held_out else None
    return model, fit(model, rows, others, training, task=task, classes=classes, seed=5, **more)


def weights(model: Any) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest()


@pytest.mark.parametrize(
    "loss",
    ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "kl_divergence"],
)
def test_every_kind_of_class_target_is_learned(loss: str) -> None:
    _, history = trained({"epochs": 30, "loss": loss, "optimizer": {"name": "sgd", "learning_rate": 0.5}})
    assert history.epochs[-1]["val_accuracy"] > 0.9


@pytest.mark.parametrize("loss", ["mean_squared_error", "mae", "huber", "log_cosh"])
def test_several_numbers_are_learned(loss: str) -> None:
    training = {"epochs": 40, "loss": loss, "optimizer": {"name": "adam", "learning_rate": 0.05}}
    model, history = trained(training, task="regression")
    assert set(history.epochs[0]) == {
        *("loss", "rmse", "mae"),
        *("val_loss", "val_rmse", "val_mae"),
    }
    assert history.epochs[-1]["val_rmse"] < 0.3
    np.testing.assert_allclose(predict(model, {"x": X}, batch_size=50), NUMBERS, atol=1)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own, under NumPy 2
def test_metrics_of_classes_stop_early_and_leave_a_file_that_keras_opens(tmp_path: Path, xla: bool) -> None:
    import keras

    training = {
        "epochs": 2,
        "metrics": ["AUC", "Recall", "pr_auc"],
        "loss": "binary_crossentropy",
        "xla": xla,
    }
    training["early_stopping"] = {"monitor": "val_AUC", "patience": 1}
    model, history = trained(training)
    names = {"loss", "auc", "recall", "pr_auc"}
    assert (
        set(history.epochs[0]) == names | {f"val_{name}" for name in names} and history.monitor == "val_auc"
    )
    assert history.best_epoch == int(np.argmax([epoch["val_auc"] for epoch in history.epochs]))
    held_out = predict(model, {"x": X[150:]})
    values = evaluate(
        "classification", CLASSES[150:], to_predictions(held_out, "sigmoid"), ("no", "yes")
    ).values
    for name in names - {"loss"}:
        shown = history.epochs[history.best_epoch][f"val_{name}"]
        assert shown == pytest.approx(values[name], abs=4e-3)
    model.save(tmp_path / "m.keras")
    keras.models.load_model(tmp_path / "m.keras")


@pytest.mark.parametrize("xla", [False, True])
def test_losses_are_those_of_keras_fit(xla: bool) -> None:
    """With rows in their own order and one epoch of it, plain `fit` reports the same to rounding."""
    import keras

    training = {
        "epochs": 1,
        "batch_size": 150,
        "xla": xla,
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
    }
    model, history = trained(training)
    plain = build_model(
        {"family": "linear"},
        SPECS,
        outputs_for("classification", 2, 0),
        1,
    )
    plain.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    held_out = ({"x": X[150:]}, CLASSES[150:])
    expected = plain.fit({"x": X[:150]}, CLASSES[:150], validation_data=held_out, batch_size=150, verbose=0)
    for name, values in expected.history.items():
        assert history.epochs[0][name] == pytest.approx(values[0], rel=1e-5)
    for ours, keras_own in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [16, 25])
def test_losses_are_those_of_keras_fit_to_the_bit(size: int) -> None:
    """Of 150 rows, whether all batches are whole or the last one is not."""

    images = np.random.default_rng(1).random((150, 8, 8, 1), np.float32)
    options = {"family": "cnn", "filters": [4], "dense": [8], "dropout": 0.0, "batch_norm": True}
    ours, plain = (
        build_model(options, {"x": InputSpec((8, 8, 1), "float32", "image")}, HEAD, 1) for _ in range(2)
    )
    training = {"epochs": 2, "batch_size": size, "xla": False}
    told: dict[str, Any] = {"task": "classification", "classes": ("no", "yes"), "seed": 5}
    history = fit(ours, ({"x": images}, CLASSES[:150]), None, training, **told)
    plain.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for epoch in range(2):
        order = np.random.default_rng([5, epoch]).permutation(150)
        kept = plain.fit({"x": images[order]}, CLASSES[order], batch_size=size, shuffle=False, verbose=0)
        assert history.epochs[epoch]["loss"] == kept.history["loss"][0]


@pytest.mark.parametrize("name", ["rnn", "lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_a_recurrent_network_learns_under_xla_what_it_learns_by_fit(name: str) -> None:
    """Series of several lengths, read both ways. Whole batches are compiled, the last is not."""
    import keras

    epochs, size = 3, 16
    series = np.random.default_rng(1).normal(size=(150, 9, 4)).astype(np.float32)
    series[:, :, -1] = np.arange(9) < np.random.default_rng(2).integers(1, 10, (150, 1))
    options = {"family": name, "units": [8], "bidirectional": True, "pooling": "mean"}
    specs = {"x": InputSpec((9, 4), "float32", "sequence", 0)}
    ours, plain = (build_model(options, specs, HEAD, 1) for _ in range(2))
    sgd = {"name": "sgd", "learning_rate": 0.1}
    training = {"epochs": epochs, "batch_size": size, "xla": True, "optimizer": sgd}
    rows, told = (
        ({"x": series}, CLASSES[:150]),
        {"task": "classification", "classes": ("no", "yes"), "seed": 5},
    )
    history = fit(ours, rows, None, training, **told)
    plain.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for epoch in range(epochs):
        order = np.random.default_rng([5, epoch]).permutation(150)
        kept = plain.fit({"x": series[order]}, CLASSES[order], batch_size=size, shuffle=False, verbose=0)
        assert history.epochs[epoch]["loss"] == pytest.approx(kept.history["loss"][0], abs=1e-4)
    again = build_model(options, specs, HEAD, 1)
    fit(again, rows, None, training, **told)
    assert weights(ours) == weights(again)


def test_every_epoch_and_batch_is_reported() -> None:
    epochs: list[tuple[int, dict[str, float], int]] = []
    before = time.time() * 1000
    trained({"epochs": 3}, on_epoch=lambda *given: epochs.append(given))
    assert [epoch for epoch, _, _ in epochs] == [0, 1, 2]
    assert {type(value) for _, values, _ in epochs for value in values.values()} == {float}
    assert before <= epochs[0][2] <= epochs[-1][2] <= time.time() * 1000 + 1


def digests() -> list[str]:
    model = {"family": "mlp", "dropout": 0.3, "batch_norm": True}
    return [weights(trained({"epochs": 2, "xla": xla}, model=model)[0]) for xla in (False, True)]


def test_two_processes_train_the_same_weights_to_the_bit() -> None:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    code = f"import sys; sys.path[:0] = {paths!r}; import test_fit; print(*test_fit.digests())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == digests()


def test_where_calls_end_changes_nothing() -> None:
    digests = set()
    for seconds in (0.0, 9.0):
        model, _ = trained({"epochs": 1})
        loop = Loop(model.train_step, ({"x": X}, CLASSES), 8, seconds_a_call=seconds)
        ends = [done for _ in range(3) for done, _ in loop.run()]
        assert (len(ends) > 6) == (seconds == 0.0)
        digests.add(weights(model))
    assert len(digests) == 1


def test_xla_is_chosen_for_long_trainings_of_layers_it_fuses() -> None:
    image = {"x": InputSpec((8, 8, 1), "float32", "image", 0)}
    dense = build_model({"family": "mlp"}, image, outputs_for("classification", 2, 0), 1)
    convolution = build_model({"family": "cnn"}, image, outputs_for("classification", 2, 0), 1)
    assert xla_pays(dense, 5_000) and not xla_pays(dense, 4_999) and not xla_pays(convolution, 10**6)


@pytest.mark.parametrize("kind", ["numeric", "sequence"])
def test_xla_is_chosen_for_recurrent_layers_that_are_narrow(kind: str) -> None:
    """Of each batch count the steps: 20 each way."""

    def pays(batches: int, **options: Any) -> bool:
        specs = {"x": InputSpec((20, 4), "float32", kind, 0)}
        return xla_pays(build_model({"bidirectional": True, **options}, specs, HEAD, 1), batches)

    for options in (
        {"family": "gru", "pooling": "mean"},
        {"family": "lstm", "pooling": "max"},
        {"family": "rnn"},
    ):
        assert pays(375, **options) and not pays(374, **options)
        assert pays(750, bidirectional=False, **options) and not pays(749, bidirectional=False, **options)
        assert not pays(10**6, units=[65], **options)
        assert not pays(10**6, dropout=0.3, **options)  # its random numbers are slow there


def test_batches_are_reported_twice_a_second_at_most() -> None:
    seen: list[tuple[float, int]] = []
    batches = 203 * 40
    x = {"x": np.tile(X, (40, 1))}
    model = build_model({"family": "mlp"}, SPECS, HEAD, 1)
    fit(
        model,
        (x, np.tile(CLASSES, 40)),
        None,
        {"epochs": 1, "batch_size": 1, "xla": False},
        task="classification",
        classes=("no", "yes"),
        seed=1,
        on_batch=lambda epoch, done, of: (
            seen.append((time.monotonic(), done)) if (epoch, of) == (0, batches) else None
        ),
    )
    gaps = np.diff([moment for moment, _ in seen])
    assert seen and (gaps >= 0.5).all() and all(0 < done < batches for _, done in seen)


@pytest.mark.parametrize("xla", [False, True])
def test_a_loss_that_is_not_finite_names_epoch_and_batch(xla: bool) -> None:
    broken = X.copy()
    order = np.random.default_rng([5, 0]).permutation(150)
    broken[order[3 * 16 + 5]] = np.nan
    with pytest.raises(
        NonFiniteLossError, match=r"infinite in epoch 1, batch 4 of 10; expected .*learning_rate"
    ):
        trained({"epochs": 2, "batch_size": 16, "xla": xla}, x=broken)


def test_a_validation_loss_that_is_not_finite_is_told() -> None:
    model = build_model({"family": "linear"}, SPECS, outputs_for("regression", 0, 2), 1)
    rows, others = ({"x": X}, NUMBERS), ({"x": X[:3] * np.float32(1e30)}, NUMBERS[:3])
    with pytest.raises(NonFiniteLossError, match=r"^val_loss is inf in epoch 1; .*in the validation rows"):
        fit(model, rows, others, {"epochs": 1}, task="regression", classes=(), seed=5)


def test_early_stopping_keeps_the_best_weights() -> None:
    stopping = {"patience": 2, "monitor": "val_accuracy"}
    model, history = trained(
        {"epochs": 50, "early_stopping": stopping, "optimizer": {"name": "sgd", "learning_rate": 0.3}}
    )
    accuracy = [epoch["val_accuracy"] for epoch in history.epochs]
    assert history.stopped == "early" and history.best_epoch == int(np.argmax(accuracy))
    chosen = predict(model, {"x": X[150:]}).argmax(axis=1)
    assert np.mean(chosen == CLASSES[150:]) == pytest.approx(max(accuracy))


def test_without_validation_rows_the_loss_is_watched() -> None:
    _, history = trained({"epochs": 2, "early_stopping": {"patience": 1}}, held_out=False)
    assert history.monitor == "loss" and "val_loss" not in history.epochs[0]


def test_a_hopeless_trial_is_pruned() -> None:
    _, history = trained({"epochs": 5}, medians=[None, 0.0])
    assert (history.stopped, len(history.epochs)) == ("pruned", 2)
    _, history = trained({"epochs": 3}, medians=[9.0, 9.0])
    assert (history.stopped, len(history.epochs)) == ("", 3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own, under NumPy 2
@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"name": "cosine"}, [0.085355, 0.05, 0.014645, 0.0]),
        ({"name": "cosine", "warmup_epochs": 1}, [0.1, 0.075, 0.025, 0.0]),
        ({"name": "exponential", "factor": 0.5}, [0.05, 0.025, 0.0125, 0.00625]),
        ({"name": "step", "every": 2, "factor": 0.1}, [0.1, 0.01, 0.01, 0.001]),
        ({"name": "reduce_on_plateau", "factor": 0.5, "patience": 0, "monitor": "accuracy"}, None),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule: dict[str, Any], rates: list[float] | None) -> None:
    optimizer = {"name": "sgd", "learning_rate": 0.1}
    _, history = trained({"epochs": 4, "optimizer": optimizer, "learning_rate_schedule": schedule})
    seen = [epoch["learning_rate"] for epoch in history.epochs]
    assert seen == pytest.approx(rates, abs=1e-6) if rates else seen == sorted(seen, reverse=True)


def test_class_weights_move_the_answers() -> None:
    training = {"epochs": 20, "optimizer": {"name": "sgd", "learning_rate": 0.5}}
    even, _ = trained({**training, "class_weights": "balanced"})
    tilted, _ = trained({**training, "class_weights": {"yes": 20.0}})
    share = [np.mean(predict(model, {"x": X}).argmax(axis=1)) for model in (even, tilted)]
    assert share[1] > share[0] + 0.1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"epoch": 3}, "unknown option 'training.epoch'; expected one of: .*did you mean 'epochs'"),
    "value": ({"epochs": 0}, "'training.epochs' is 0; expected a number of at least 1; correct it"),
    "nested key": ({"early_stopping": {"patince": 1}}, "unknown option 'training.early_stopping.patince'"),
    "schedule": ({"learning_rate_schedule": {"name": "cos"}}, "'training.learning_rate_schedule'"),
    "optimizer": (
        {"optimizer": "addam"},
        "unknown optimizer 'addam'; expected one of: .*did you mean 'adam'",
    ),
    "optimizer option": (
        {"optimizer": {"name": "sgd", "momentm": 0.9}},
        "unknown option 'momentm' of optimizer 'sgd'; expected one of: .*did you mean 'momentum'",
    ),
    "optimizer value": ({"optimizer": {"name": "sgd", "momentum": 7}}, "of optimizer 'sgd' were refused"),
    "learning rate": (
        {"optimizer": {"name": "sgd", "learning_rate": "big"}},
        "is 'big'; expected a number above 0",
    ),
    "loss": ({"loss": "binary_crosentropy"}, "did you mean 'binary_crossentropy'"),
    "loss of the other task": ({"loss": "mse"}, "loss 'mean_squared_error' does not fit a classification"),
    "loss option": (
        {"loss": {"name": "kl_divergence", "delta": 1}},
        "unknown option 'delta' of loss 'kl_div",
    ),
    "metric": (
        {"metrics": ["acuracy"]},
        "unknown metric 'acuracy' in 'training.metrics'; .*expected one of: .*did you mean 'accuracy'",
    ),
    "metric that does not fit": (
        {"metrics": ["true_positives"]},
        "metrics ['loss', 'compile_metrics'] cannot be computed",
    ),
    "monitor": (
        {"early_stopping": {"monitor": "val_acuracy"}},
        "'training.early_stopping.monitor' is 'val_acuracy', which is not computed; "
        "expected one of: .*did you mean 'val_accuracy'",
    ),
    "metric that is always 1": (
        {"metrics": ["top_k_categorical_accuracy"]},
        "top_5_accuracy in 'training.metrics' is",
    ),
    "class weights": (
        {"class_weights": {"yess": 2.0}},
        "unknown class 'yess' in 'training.class_weights'; expected one of: .*did you",
    ),
    "backend": (
        {"backend": "jax"},
        "'training.backend' is 'jax' and Keras runs on tensorflow; expected jax; set",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_told_before_the_first_batch(case: str) -> None:
    training, said = WRONG[case]
    with pytest.raises(OptionsError) as caught:
        trained(training)
    assert re.search(".*".join(map(re.escape, said.split(".*"))), str(caught.value))


def test_a_model_that_cannot_run_its_rows_is_a_training_error() -> None:
    model = build_model(
        {"family": "text"},
        {"x": InputSpec((4,), "int32", "text", 10)},
        outputs_for("classification", 2, 0),
        1,
    )
    rows = ({"x": np.full((50, 4), 99, np.int32)}, CLASSES[:50])
    rows[0]["x"][:3] = 1
    with pytest.raises(TrainingError, match=r"could not run a batch of epoch 1: InvalidArgumentError"):
        fit(model, rows, None, {}, task="classification", classes=("no", "yes"), seed=1)


def test_true_and_false_are_weighed_by_the_names_yaml_and_json_have() -> None:
    y = np.array([0, 1])
    for weighed in ({True: 3.0}, {"true": 3.0}):
        np.testing.assert_array_equal(
            np.asarray(class_weights(weighed, np.bincount(y), (False, True))), [1, 3]
        )
    with pytest.raises(OptionsError, match=r"class_weights' is given and the target has no classes"):
        class_weights("balanced", None, ())


def test_what_repeats_on_a_gpu_is_asked_for_once_beside_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=somewhere")
    for name in ("KERAS_BACKEND", "CUBLAS_WORKSPACE_CONFIG", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
    for _ in range(2):
        configure_backend("numpy")
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=somewhere --xla_gpu_deterministic_ops=true"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert (os.environ["KERAS_BACKEND"], os.environ["OMP_WAIT_POLICY"]) == ("tensorflow", "")


def test_a_gpu_that_is_not_there_is_an_error_with_a_way_out() -> None:
    require_gpus(0)
    with pytest.raises(GpuNotFoundError, match=r"resources.gpus is 99 and TensorFlow sees \d+ GPUs .*or set"):
        require_gpus(99)
    assert isinstance(gpus_seen(), list)
