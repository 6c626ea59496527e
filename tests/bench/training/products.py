"""A network's matrix products and convolutions alone, and their gradients: no loop over its batches can be faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def products(model: Any, batch: int, batches: int, xla: bool) -> Callable[[], float]:
    """An epoch of nothing but what a network's layers multiply: the answer and both gradients, TensorFlow's kernels.

    No loop over the same batches can be faster. The weights change from batch to batch, so that nothing is left out.
    """
    import tensorflow as tf

    layers = [layer for layer in model.layers if layer.weights]
    parts = [part for layer in layers for part in _multiplied(layer, batch)]
    weights = [weight for layer in layers for weight in layer.weights if "kernel" in weight.name]

    def epoch(weights: list[Any], stop: Any) -> Any:
        def body(step: Any, seen: Any, weights: list[Any]) -> Any:
            found = [part(weight) for part, weight in zip(parts, weights, strict=True)]
            seen += sum(
                tf.reduce_max(of_given) for _, of_given in found[1:]
            )  # the first needs no such gradient
            changed = [weight - 1e-9 * of for weight, (of, _) in zip(weights, found, strict=True)]
            return step + 1, seen, changed

        start = (tf.constant(0), tf.constant(0.0), weights)
        last = tf.while_loop(lambda step, *_: step < stop, body, start, parallel_iterations=1)
        return last[1] + sum(
            tf.reduce_max(weight) for weight in last[2]
        )  # else the first layer would be left out

    run = tf.function(epoch, autograph=False, jit_compile=xla)
    begun = [tf.constant(weight.numpy()) for weight in weights]

    def timed() -> float:
        began = time.perf_counter()
        assert np.isfinite(run(begun, tf.constant(batches)).numpy())
        return time.perf_counter() - began

    return timed


def _multiplied(layer: Any, batch: int) -> list[Callable[[Any], tuple[Any, Any]]]:
    """For each kernel of a layer the products with it; told are the gradients of the kernel and of what is given."""
    import tensorflow as tf

    given = tf.random.stateless_normal((batch, *layer.input.shape[1:]), (1, 2))

    def dense(kernel: Any, given: Any = given) -> tuple[Any, Any]:
        answer = given @ kernel
        return tf.matmul(given, answer, transpose_a=True), tf.matmul(answer, kernel, transpose_b=True)

    def convolution(kernel: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch([kernel, given])
            answer = tf.nn.conv2d(given, kernel, 1, "SAME")
        return tuple(tape.gradient(answer, [kernel, given], output_gradients=answer))

    if type(layer).__name__ == "Conv2D":
        return [convolution]
    if type(layer).__name__ != "LSTM":
        return [dense]
    steps, units = given.shape[1], layer.units
    states = tf.random.stateless_normal((steps * batch, units), (3, 4))
    gates = tf.random.stateless_normal((steps * batch, 4 * units), (5, 6))

    def recurrent(kernel: Any) -> tuple[Any, Any]:
        """Each step's two need the step's before; the gradient of the kernel is one product."""

        def body(step: Any, state: Any) -> tuple[Any, Any]:
            return step + 1, 0.1 * tf.matmul(state @ kernel, kernel, transpose_b=True)

        last = tf.while_loop(lambda step, _: step < steps, body, (tf.constant(0), states[:batch]))[1]
        return tf.matmul(states, gates, transpose_a=True), last

    flat = tf.reshape(given, (steps * batch, -1))
    return [lambda kernel: dense(kernel, flat), recurrent]
