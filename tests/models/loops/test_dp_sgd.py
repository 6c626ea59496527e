"""DP-SGD: what a step is, what a batch is, and what it has spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.on_backend import printed_on
from tests.models.resumed import digests
from tidegate.models.config.options import parse_options
from tidegate.models.config.training import Training
from tidegate.models.errors import OptionsError
from tidegate.models.families.build import build_model
from tidegate.models.loops.dp_sgd import Sampling, require_private_model, tensorflow_step
from tidegate.models.loops.privacy_accounting import ORDERS, epsilon, renyi
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import fit

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
LOSS = keras.losses.SparseCategoricalCrossentropy()
SPECS = {"x": InputSpec((4,), "float32", "numeric")}


def test_the_moments_are_those_published() -> None:
    """Abadi et al. (2016), section 3.2: q 0.01, sigma 4, 10,000 steps and delta 1e-5 spend 1.26, by the older rule."""
    spent = 10_000 * renyi(0.01, 4.0) + np.log(1e5) / (ORDERS - 1)
    assert spent.min() == pytest.approx(1.26, abs=0.005)


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta", "expected"),
    [
        (250 / 60000, 1.3, 3600, 1e-5, 0.9422002181626765),
        (250 / 60000, 1.1, 14400, 1e-5, 2.5617157169836333),
        (256 / 60000, 0.7, 10575, 1e-5, 6.3276862240831875),
        (0.01, 4.0, 10000, 1e-5, 1.0354900660362436),
        (0.1, 1.0, 100, 1e-6, 8.921391652814453),
        (1.0, 2.0, 10, 1e-5, 8.079406222420491),
        (0.5, 0.8, 3, 1e-3, 6.441223395640902),
    ],
)
def test_epsilon_is_that_of_google(
    rate: float, noise: float, steps: int, delta: float, expected: float
) -> None:
    """dp-accounting 0.6.0, RdpAccountant over PoissonSampledDpEvent(GaussianDpEvent); ours is never below it."""
    assert expected * (1 - 1e-9) <= epsilon(rate, noise, steps, delta) <= expected * 1.05


def test_more_steps_or_less_noise_spend_more_and_none_spend_nothing() -> None:
    values = [epsilon(0.1, noise, steps, 1e-5) for noise, steps in ((1, 0), (1, 10), (1, 20), (0.8, 20))]
    assert values[0] == 0 and values == sorted(set(values))


def test_rows_are_in_batches_by_their_own_chance() -> None:
    sampling = Sampling(200, 20)
    orders = [sampling.order(np.random.default_rng(seed)) for seed in range(300)]
    batches = np.concatenate([order.reshape(sampling.batches, sampling.padded_batch) for order in orders])
    sizes = (batches < 200).sum(axis=1)
    assert sizes.mean() == pytest.approx(20, rel=0.02) and sizes.var() == pytest.approx(18, rel=0.1)
    counts = np.bincount(batches[batches < 200], minlength=200) / len(batches)
    assert np.abs(counts - 0.1).max() < 0.03
    assert sizes.max() < sampling.padded_batch < 70 and sampling.padded_batch == batches.shape[1]
    assert Sampling(7, 7).padded_batch == 7 and Sampling(7, 7).rate == 1


def built(model: dict[str, Any] | None = None) -> Any:
    return build_model(
        model or {"family": "mlp", "hidden": [5]}, SPECS, outputs_for("classification", 2, 0), 1
    )


def test_a_step_sums_clipped_gradients_and_leaves_rows_of_no_weight_out() -> None:
    """Against Keras' own gradients of one row after the other; the noise is that of the same seed alone."""
    import tensorflow as tf

    model, clip = built(), 1.5
    wanted = {"privacy": {"noise_multiplier": 1e-6, "clip_norm": clip}, "optimizer": "sgd"}
    options = parse_options(Training, wanted, "training")
    model.compile(keras.optimizers.SGD(1.0), LOSS, weighted_metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    before = [weight.copy() for weight in model.get_weights()]
    expected, norms = [np.zeros_like(weight) for weight in before], []
    for row in range(10):
        with tf.GradientTape() as tape:
            value = model.loss(Y[row : row + 1], model({"x": X[row : row + 1]}))
        gradients = [np.asarray(one) for one in tape.gradient(value, model.trainable_variables)]
        norms.append(np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
        scale = min(1, clip / norms[-1])
        expected = [total + gradient * scale for total, gradient in zip(expected, gradients, strict=True)]
    assert min(norms) < clip < max(norms)
    step = tensorflow_step(model, options, Sampling(300, 8), 1)
    weights = np.where(np.arange(12) < 10, 1, 0).astype(np.float32)
    data = tf.nest.map_structure(tf.constant, ({"x": X[:12]}, Y[:12], weights))
    logs = step(data)
    for weight, was, total in zip(model.get_weights(), before, expected, strict=True):
        np.testing.assert_allclose(was - weight, total / 8, atol=2e-6)
    assert float(logs["accuracy"]) * 10 == pytest.approx(round(float(logs["accuracy"]) * 10), abs=1e-5)


def test_the_noise_has_the_size_asked_for_and_is_new_each_step() -> None:
    import tensorflow as tf

    model = built({"family": "mlp", "hidden": [400]})
    wanted = {"privacy": {"noise_multiplier": 2.0, "clip_norm": 0.5}, "optimizer": "sgd"}
    options = parse_options(Training, wanted, "training")
    model.compile(keras.optimizers.SGD(1.0), LOSS)
    model.optimizer.build(model.trainable_variables)
    step = tensorflow_step(model, options, Sampling(300, 8), 1)
    data = tf.nest.map_structure(tf.constant, ({"x": X[:2]}, Y[:2], np.zeros(2, np.float32)))
    moves = []
    for _ in range(2):
        before = np.concatenate([weight.ravel() for weight in model.get_weights()])
        step(data)
        moves.append(np.concatenate([weight.ravel() for weight in model.get_weights()]) - before)
    assert moves[0].std() == pytest.approx(2.0 * 0.5 / 8, rel=0.05)
    assert abs(np.corrcoef(*moves)[0, 1]) < 0.1


def private(noise: float, model: dict[str, Any] | None = None, **more: Any) -> Any:
    training = {"epochs": 8, "batch_size": 32, "optimizer": {"name": "adam", "learning_rate": 0.02}}
    training |= {"privacy": {"noise_multiplier": noise}, **more}
    chosen = built(model)
    rows, others = ({"x": X[:200]}, Y[:200]), ({"x": X[200:]}, Y[200:])
    return fit(chosen, rows, others, training, task="classification", classes=(0, 1), seed=5)


def test_it_learns_and_tells_what_it_spent() -> None:
    history = private(0.8, class_weights="balanced")
    assert history.epochs[-1]["val_accuracy"] > 0.8
    assert history.epochs[0]["loss"] < 1.2  # the rows that fill a batch do not count
    assert history.epsilon == epsilon(32 / 200, 0.8, 7 * 8, 1e-5)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"family": "mlp", "dropout": 0.2}, r"the model has 'dropout.*rate'.*leave out dropout"),
        (
            {"family": "mlp", "batch_norm": True},
            r"the model has '.*batch_norm.*leave out dropout, batch_norm",
        ),
        ({"family": "mlp", "l2": 0.2}, r"the model has 'a penalty'"),
    ],
)
def test_a_model_that_keeps_something_of_its_rows_is_refused(model: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        require_private_model(built(model))


def test_attention_is_refused_on_tensorflow() -> None:
    specs = {"x": InputSpec((4,), "int32", "text", 9)}
    model = {"family": "transformer", "width": 4, "heads": 2, "dropout": 0}
    with pytest.raises(OptionsError, match=r"\(MultiHeadAttention\).*set training.backend: jax"):
        require_private_model(build_model(model, specs, outputs_for("classification", 2, 0), 1))


def test_recurrent_layers_that_draw_nothing_are_taken() -> None:
    specs = {"x": InputSpec((4, 2), "float32", "numeric")}
    model = {"family": "lstm", "units": [3], "dropout": 0}
    require_private_model(build_model(model, specs, outputs_for("classification", 2, 0), 1))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_private_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path: Path, precision: str) -> None:
    training = {"privacy": {"noise_multiplier": 0.5}, "precision": precision}
    found = digests(training, tmp_path, most=8, model={"dropout": 0})
    assert len(set(found)) == 1


@pytest.mark.slow  # JAX compiles each batch's step anew in every process
def test_the_same_on_jax(tmp_path: Path) -> None:
    training = {"privacy": {"noise_multiplier": 0.5}}
    found = printed_on(
        "jax", "-m", "tests.models.resumed", json.dumps(training), str(tmp_path), '{"dropout": 0}'
    )
    assert len(set(found)) == 1
