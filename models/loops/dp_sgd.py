"""DP-SGD: each row's gradient is clipped and noise is added to their sum, so that the weights reveal no single row.

Source: Abadi et al., "Deep Learning with Differential Privacy" (2016), algorithm 1. Batches are drawn as its accounting
assumes: each row is in each batch independently, so that batch sizes differ; batches are padded to one size with rows
of weight 0, which have no gradient. Only the weights are private: not the transforms, which are fitted on the training
rows, nor the losses of the epochs; and only from someone who does not know `training.seed`, which the noise comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.training import Training
from tidegate.models.config.training_parts import Privacy
from tidegate.models.errors import OptionsError
from tidegate.models.keras_private import all_layers
from tidegate.models.loops.privacy_accounting import epsilon

# Options of Keras layers that draw random numbers.
RANDOM = ("rate", "dropout", "recurrent_dropout", "stddev")
OVERFULL = 1e-12  # probability that a batch is larger than the padded size and loses rows


@dataclass(frozen=True)
class Sampling:
    """How batches are drawn.

    Attributes:
        rows: number of training rows.
        batch: average number of rows per batch, at most `rows`.
    """

    rows: int
    batch: int

    @property
    def rate(self) -> float:
        """Probability that a row is in a batch."""
        return self.batch / self.rows

    @property
    def batches(self) -> int:
        """Batches per epoch."""
        return -(-self.rows // self.batch)

    @property
    def padded_batch(self) -> int:
        r"""Rows of a padded batch.

        A batch has k or more rows with a probability of at most \( e^{-n KL(k / n, q)} \): Hoeffding, "Probability
        Inequalities for Sums of Bounded Random Variables" (1963), theorem 1.
        """
        if self.rate >= 1:
            return self.rows
        share = np.arange(self.batch + 1, self.rows) / self.rows
        unlikely = share * np.log(share / self.rate) + (1 - share) * np.log((1 - share) / (1 - self.rate))
        rare = np.flatnonzero(self.rows * unlikely >= -np.log(OVERFULL))
        return self.batch + 1 + int(rare[0]) if len(rare) else self.rows

    def order(self, generator: np.random.Generator) -> NDArray[np.int32]:
        """Return an epoch's rows, int32 (batches * padded_batch,); the index `rows` is padding."""
        order = np.full((self.batches, self.padded_batch), self.rows, np.int32)
        for batch in order:
            chosen = np.flatnonzero(generator.random(self.rows) < self.rate)[: self.padded_batch]
            batch[: len(chosen)] = chosen
        return order.ravel()

    def padded(self, data: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (inputs, target, row weights) with one more row of weight 0, which is the padding."""
        inputs, target, weights = data if len(data) > 2 else (*data, np.ones(self.rows, np.float32))
        more = {name: np.concatenate([array, array[:1]]) for name, array in inputs.items()}
        return more, np.concatenate([target, target[:1]]), np.append(weights, np.float32(0))


def require_private_model(model: Any) -> None:
    """Refuse a model whose layers store statistics of rows, draw random numbers, or crash the backend.

    Raises:
        OptionsError: names the layer.
    """
    import keras

    found = [weight.path for weight in model.non_trainable_weights]
    for layer in all_layers(model):
        config = layer.get_config()
        found += [
            f"{layer.name}.{key}" for key in RANDOM if isinstance(config.get(key), float) and config[key] > 0
        ]
        if "Attention" in type(layer).__name__ and keras.backend.backend() == "tensorflow":
            raise OptionsError(
                f"option 'training.privacy' is given and TensorFlow has no per-row gradients for layer {layer.name!r} "
                f"({type(layer).__name__}): its process would crash; expected another backend; set training.backend: "
                "jax, or leave privacy out"
            )
    if found or model.losses:
        raise OptionsError(
            f"option 'training.privacy' is given and the model has {found[0] if found else 'a penalty'!r}; expected a "
            "model whose output for a row depends on that row only; leave out dropout, batch_norm, l2 and freeze"
        )


def spent_epsilon(privacy: Privacy, sampling: Sampling, model: Any) -> float:
    """Return the epsilon spent by all weight updates so far."""
    return epsilon(sampling.rate, privacy.noise_multiplier, int(model.optimizer.iterations), privacy.delta)


def tensorflow_step(model: Any, options: Training, sampling: Sampling, seed: int) -> Callable[..., Any]:
    """Return a `train_step(data)` that uses clipped gradients with noise."""
    import tensorflow as tf

    privacy, loss = _privacy(options), model.loss

    def one(row: Any) -> Any:
        inputs, target, weight = tf.nest.map_structure(lambda tensor: tensor[None], row)
        with tf.GradientTape() as tape:
            answer = model(inputs, training=True)
            value = loss(target, answer, sample_weight=weight)
        gradients = tape.gradient(value, [variable.value for variable in model.trainable_variables])
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        # tf.linalg.global_norm would run over the rows one by one.
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients]))
        scale = 1 / tf.maximum(
            norm / privacy.clip_norm, 1.0
        )  # the first argument sets the dtype, maybe float64
        return [gradient * scale for gradient in gradients], answer[0], value

    def noise(place: int, shape: Any, dtype: Any) -> Any:
        step = tf.cast(model.optimizer.iterations.value, tf.int64)
        drawn = tf.random.stateless_normal(shape, tf.stack([step, _seed(seed, place)]), dtype=dtype)
        return drawn * privacy.noise_multiplier * privacy.clip_norm

    def step(data: Any) -> Any:
        clipped, answers, values = tf.vectorized_map(one, data)
        sums = [tf.reduce_sum(gradient, axis=0) for gradient in clipped]
        noisy = [
            (sum_ + noise(place, sum_.shape, sum_.dtype)) / sampling.batch for place, sum_ in enumerate(sums)
        ]
        model.optimizer.apply(noisy, model.trainable_variables)
        return _logs(model, data, answers, values)

    return step


def jax_step(model: Any, options: Training, sampling: Sampling, seed: int) -> Callable[..., Any]:
    """Return a stateless `train_step(state, data)` that uses clipped gradients with noise."""
    import jax
    import keras
    from jax import numpy

    privacy, loss = _privacy(options), model.loss

    def value_of(trainable: Any, fixed: Any, row: Any) -> Any:
        inputs, target, weight = jax.tree.map(lambda array: array[None], row)
        answer, _ = model.stateless_call(trainable, fixed, inputs, training=True)
        return loss(target, answer, sample_weight=weight), answer[0]

    def one(trainable: Any, fixed: Any, row: Any) -> Any:
        (value, answer), gradients = jax.value_and_grad(value_of, has_aux=True)(trainable, fixed, row)
        norm = numpy.sqrt(sum(numpy.sum(gradient**2) for gradient in gradients))
        return (
            [gradient / numpy.maximum(1.0, norm / privacy.clip_norm) for gradient in gradients],
            answer,
            value,
        )

    def step(state: Any, data: Any) -> Any:
        trainable, fixed, optimizer, metrics = state
        clipped, answers, values = jax.vmap(one, in_axes=(None, None, 0))(trainable, fixed, data)
        noisy = []
        for place, gradient in enumerate(clipped):
            key = jax.random.fold_in(jax.random.key(_seed(seed, place)), optimizer[0])
            drawn = jax.random.normal(key, gradient.shape[1:], gradient.dtype)
            drawn *= privacy.noise_multiplier * privacy.clip_norm
            noisy.append((gradient.sum(axis=0) + drawn) / sampling.batch)
        trainable, optimizer = model.optimizer.stateless_apply(optimizer, noisy, trainable)
        given = list(zip(model.metrics_variables, metrics, strict=True))
        with keras.StatelessScope(state_mapping=given) as scope:
            logs = _logs(model, data, answers, values)
        metrics = [scope.get_current_value(variable) for variable in model.metrics_variables]
        return logs, (trainable, fixed, optimizer, metrics)

    return step


def _privacy(options: Training) -> Privacy:
    assert options.privacy is not None
    return options.privacy


def _seed(seed: int, place: int) -> int:
    """The seed of the noise on one variable, the same in every process."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0] >> 1)


def _logs(model: Any, data: Any, answers: Any, values: Any) -> Any:
    """The logs, without the padding rows."""
    import keras

    inputs, target, weights = data
    there = keras.ops.cast(weights > 0, "float32")
    tracker = next(metric for metric in model.metrics if metric.name == "loss")
    tracker.update_state(values, sample_weight=there)
    return model.compute_metrics(inputs, target, answers, sample_weight=there)
