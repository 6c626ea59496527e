"""A recurrent layer as a forward and a backward loop, because the converter knows loops but not their gradients.

The backward loop recomputes each step from its initial states (backpropagation through time: Rumelhart, Hinton and
Williams, "Learning representations by back-propagating errors", 1986). Only the gradient for the sequence is computed,
none for the weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tidegate.models.keras_private import all_layers

Step = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]


@contextlib.contextmanager
def looped(model: Any) -> Iterator[None]:
    """Trace a model's recurrent layers with `run`, on TensorFlow, for a known number of rows."""
    import keras

    layers = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.RNN)]
    # A layer that returns its states stays as it is; the converter reports that it cannot convert it.
    plain = [layer for layer in layers if not (layer.return_state or layer.stateful)]
    before = [layer.inner_loop for layer in plain]
    for layer in plain:
        layer.inner_loop = partial(run, layer)
    try:
        yield
    finally:
        for layer, inner_loop in zip(plain, before, strict=True):
            layer.inner_loop = inner_loop


def run(
    layer: Any, sequences: Any, initial_state: list[Any], mask: Any, training: bool = False
) -> tuple[Any, Any, list[Any]]:
    """Do what `keras.layers.RNN.inner_loop` does.

    Args:
        layer: with a cell.
        sequences: (rows, steps, features), both known.
        initial_state: a tensor each, (rows, width).
        mask: bool (rows, steps), which steps are not padding; None: all. A padded step does not change the states, and
            its output is the previous one, or zeros if the layer is configured so.
        training: must be False.

    Returns:
        The last output (rows, units); all outputs (rows, steps, units), or the last one as (rows, 1, units); the
        initial states, because a layer that returns its states is not run here.
    """
    import tensorflow as tf

    assert not training
    mask = mask[0] if isinstance(mask, list | tuple) else mask
    rows, steps, _ = sequences.shape
    there = tf.ones((rows, steps), tf.bool) if mask is None else mask
    order = range(steps - 1, -1, -1) if layer.go_backwards else range(steps)
    there = tf.gather(tf.transpose(there), list(order))[:, :, None]
    states = list(initial_state)
    width = layer.cell(sequences[:, 0], states, training=False)[0].shape[-1]
    begin = [tf.zeros((rows, width), sequences.dtype), *states]

    def step(carry: list[Any], given: list[Any]) -> list[Any]:
        x, exists = given
        output, new = layer.cell(x, carry[1:], training=False)
        if layer.zero_output_for_mask:
            carry = [tf.zeros_like(carry[0]), *carry[1:]]
        return [
            tf.where(exists, value, old) for value, old in zip((output, *_listed(new)), carry, strict=True)
        ]

    def outputs(x: Any) -> tuple[Any, Callable[..., Any]]:
        x = tf.gather(tf.transpose(tf.stop_gradient(x), (1, 0, 2)), list(order))

        def forward(carry: list[Any], given: list[Any]) -> tuple[list[Any], list[Any]]:
            new = step(carry, given)
            return new, [new[0], *carry]

        found, *carries = _loop(forward, begin, [x, there], [begin[0], *begin])

        def back(gradients: list[Any], given: list[Any]) -> tuple[list[Any], list[Any]]:
            output_gradient, x, exists, *carry = given
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([x, *carry])
                new = step(carry, [x, exists])
            gradients = [gradients[0] + output_gradient, *gradients[1:]]
            to_x, *to_carry = tape.gradient(
                new, [x, *carry], output_gradients=gradients, unconnected_gradients="zero"
            )
            return to_carry, [to_x]

        def gradient(of_outputs: Any, variables: Any = None) -> Any:
            backwards = list(range(steps - 1, -1, -1))
            given = [tf.gather(part, backwards) for part in (of_outputs, x, there, *carries)]
            (to_x,) = _loop(back, [tf.zeros_like(part) for part in begin], given, [x[0]])
            again = [backwards[place] for place in order]  # undoes both orders
            to_x = tf.transpose(tf.gather(to_x, again), (1, 0, 2))
            return to_x if variables is None else (to_x, [None] * len(variables))

        return found, gradient

    found = tf.custom_gradient(outputs)(sequences)
    last = found[-1]
    return last, tf.transpose(found, (1, 0, 2)) if layer.return_sequences else last[:, None], states


def _loop(step: Step, carry: list[Any], given: list[Any], like: list[Any]) -> list[Any]:
    """Run all steps; return their results stacked, (steps, ...), with the shapes of `like`."""
    import tensorflow as tf

    steps = given[0].shape[0]
    read = [tf.TensorArray(part.dtype, steps).unstack(part) for part in given]
    write = [tf.TensorArray(one.dtype, steps, element_shape=one.shape) for one in like]

    def body(place: Any, carry: list[Any], write: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        carry, results = step(carry, [array.read(place) for array in read])
        return place + 1, carry, [array.write(place, one) for array, one in zip(write, results, strict=True)]

    _, _, written = tf.while_loop(
        lambda place, *_: place < steps, body, (tf.constant(0), carry, write), maximum_iterations=steps
    )
    return [array.stack() for array in written]


def _listed(states: Any) -> list[Any]:
    return list(states) if isinstance(states, list | tuple) else [states]
