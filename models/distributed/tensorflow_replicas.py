"""Several devices share each batch (TensorFlow backend): each layer of the model runs on all devices, with their rows.

Each device computes a layer for its share of the rows. Loss, metrics and update are computed for the whole batch on the
first device, which has the variables. `BatchNormalization` uses mean and variance over all shares, and random numbers
are drawn for the whole batch, of which each share takes its part. So the loss curve is that of one device.
(`tf.distribute.MirroredStrategy` gives each replica its own Dropout and statistics.)

Other layers see only a device's rows; a layer that mixes rows gives other results than on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tidegate.models.distributed.devices import require_equal_shares
from tidegate.models.errors import OptionsError
from tidegate.models.keras_private import (
    BESIDE,
    all_layers,
    calling,
    given_moments,
    graph_of,
    in_mode,
    mask_of,
    run_graph,
    standardized,
    tensorflow_random,
)

# Keras' random functions whose first argument is the shape.
SHAPED = ("normal", "truncated_normal", "uniform", "randint")


def devices_for(gpus: int, batch_size: int) -> list[str]:
    """The names of `gpus` devices, GPUs if there are any, else CPU devices; [] for one device.

    Raises:
        OptionsError: there are fewer, or the batch size is not a multiple of them.
    """
    if gpus < 2:
        return []
    import tensorflow as tf

    require_equal_shares("tensorflow", gpus, 1, batch_size)
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < gpus:
        raise OptionsError(
            f"resources.gpus is {gpus} and TensorFlow has {len(found)} devices; expected at least {gpus}; set "
            f"resources.gpus: {len(found)}"
        )
    return [device.name for device in found[:gpus]]


def shared_step(model: Any, devices: Sequence[str]) -> Callable[[Any], Any]:
    """Return the model's own `train_step(data)`, in which the devices share the call of the model.

    The batch has a known number of rows, a multiple of the number of devices.

    Raises:
        OptionsError: a BatchNormalization is where it cannot be shared.
    """
    from keras.layers import BatchNormalization

    layers = {id(layer) for layer in _graph(model)}
    for layer in all_layers(model):
        if isinstance(layer, BatchNormalization) and layer.trainable and id(layer) not in layers:
            raise OptionsError(
                f"resources.gpus is {len(devices)} and layer {layer.path!r} (BatchNormalization) is inside another "
                "layer; expected it in the model's own graph, where the devices can share it; call it there, set "
                "training.backend: jax, or set gpus to 1"
            )
    shared = SharedModel(model, devices)
    return lambda data: type(model).train_step(shared, data)


@dataclass(frozen=True)
class ShardedTensor:
    """A tensor whose rows are divided among several devices.

    Attributes:
        parts: one tensor per device, all with the same number of rows.
    """

    parts: list[Any]


class SharedModel:
    """Takes the model's place in its `train_step`: the devices share its call, everything else is the model's.

    Args:
        model: a compiled Keras model.
        devices: names of TensorFlow devices.
    """

    def __init__(self, model: Any, devices: Sequence[str]) -> None:
        self._model, self._devices, self._rows = model, devices, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, inputs: Any, training: bool | None = None) -> Any:
        """The model's outputs for a batch."""
        import keras
        import tensorflow as tf

        self._rows = keras.tree.flatten(inputs)[0].shape[0] // len(self._devices)
        parts = keras.tree.map_structure(lambda array: tf.split(array, len(self._devices)), inputs)
        dealt = keras.tree.map_structure_up_to(inputs, ShardedTensor, parts)
        with calling(self._model):
            return keras.tree.map_structure(_joined, self._run(self._model, dealt, training=training))

    def _run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """The result of an operation for arguments that are `ShardedTensor`s."""
        import keras
        import tensorflow as tf

        function, training = graph_of(operation), kwargs.get("training")
        if function is not None:
            flat = [standardized(function, each(args[0])) for each in self._shares()]
            inputs = [ShardedTensor(list(parts)) for parts in zip(*flat, strict=True)]
            return run_graph(function, inputs, lambda inner: partial(self._within, inner, training))
        kwargs.pop("training", None)
        call = in_mode(operation, training)
        state = list(getattr(operation, "non_trainable_variables", ()))
        before = [(variable, variable.value) for variable in state]
        scopes = [keras.StatelessScope(before, collect_losses=True) for _ in self._devices]
        unchanged = [scopes[0].get_current_value(variable) for variable in state]
        found = []
        with self._moments(operation, training, args):
            for place, each in enumerate(self._shares()):
                with tf.device(self._devices[place]), self._drawn(place), scopes[place]:
                    found.append(call(*each(args), **each(kwargs)))
        for variable, value in zip(state, unchanged, strict=True):
            after = scopes[0].get_current_value(variable)  # equal in all shares
            if after is not value:
                variable.assign(after)
        for loss in (loss for scope in scopes for loss in scope.losses):
            operation.add_loss(loss / len(self._devices))
        return keras.tree.map_structure(lambda *parts: ShardedTensor(list(parts)), *found)

    def _within(self, operation: Any, trains: bool | None, *args: Any, **kwargs: Any) -> Any:
        """In a graph the outermost call decides about `training`, as in Keras."""
        return self._run(operation, *args, **kwargs | {"training": trains})

    def _shares(self) -> Iterator[Callable[[Any], Any]]:
        """For each device a function that takes its part of every `ShardedTensor` in a structure."""
        import keras

        for place in range(len(self._devices)):

            def each(given: Any, place: int = place) -> Any:
                return keras.tree.map_structure(
                    lambda one: one.parts[place] if isinstance(one, ShardedTensor) else one, given
                )

            yield each

    @contextmanager
    def _moments(self, layer: Any, training: bool | None, args: tuple[Any, ...]) -> Iterator[None]:
        """Let a BatchNormalization use mean and variance over all shares, as Keras does over a batch."""
        from keras.layers import BatchNormalization

        if not (isinstance(layer, BatchNormalization) and training and layer.trainable):
            yield
            return
        moments = _mean_and_variance(layer, args[0].parts, self._devices)
        with given_moments(layer, moments):
            yield

    @contextmanager
    def _drawn(self, place: int) -> Iterator[None]:
        """Let Keras draw random numbers for the whole batch, and give a share its part of them."""
        import keras
        import tensorflow as tf

        random, rows, count = tensorflow_random(), self._rows, len(self._devices)

        def shaped(draw: Callable[..., Any]) -> Callable[..., Any]:
            def drawn(shape: Any, *args: Any, **kwargs: Any) -> Any:
                size = tuple(tf.get_static_value(shape) if tf.is_tensor(shape) else shape)
                if not size or size[0] % rows:
                    return draw(shape, *args, **kwargs)
                return draw((size[0] * count, *size[1:]), *args, **kwargs)[place * size[0] :][: size[0]]

            return drawn

        def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
            size = list(keras.ops.shape(inputs))
            of = [
                own if asked is None else asked for own, asked in zip(size, noise_shape or size, strict=True)
            ]
            if of[0] != size[0]:  # the same for all rows
                return plain["dropout"](inputs, rate, noise_shape, seed)
            kept = plain["dropout"](tf.ones((of[0] * count, *of[1:]), inputs.dtype), rate, None, seed)
            return inputs * kept[place * of[0] :][: of[0]]

        plain = {name: getattr(random, name) for name in (*SHAPED, "dropout")}
        for name in SHAPED:
            setattr(random, name, shaped(plain[name]))
        random.dropout = dropout
        try:
            yield
        finally:
            for name, draw in plain.items():
                setattr(random, name, draw)


def _joined(dealt: ShardedTensor) -> Any:
    """All rows as one tensor, with the attributes that Keras' losses read from a model's output."""
    import tensorflow as tf

    whole = tf.concat(dealt.parts, axis=0)
    for name in BESIDE:
        values = [getattr(part, name, None) for part in dealt.parts]
        if all(tensor is not None for tensor in values):
            setattr(whole, name, tf.concat(values, axis=0))
    return whole


def _mean_and_variance(layer: Any, parts: list[Any], devices: Sequence[str]) -> tuple[Any, Any]:
    """Mean and variance as Keras computes them for a whole batch, without masked positions."""
    import tensorflow as tf
    from keras import backend, ops

    rank = parts[0].shape.rank
    axes = [axis for axis in range(rank) if axis != layer.axis % rank]
    along = [-1 if axis == layer.axis % rank else 1 for axis in range(rank)]

    def total(of: Callable[[Any, Any], Any]) -> Any:
        """The sum over all shares of a function of inputs and mask."""
        sums = []
        for part, device in zip(parts, devices, strict=True):
            with tf.device(device):
                inputs = ops.cast(part, backend.result_type(part.dtype, "float32"))
                mask = mask_of(part)
                there = tf.ones_like(inputs)
                if mask is not None:
                    there *= ops.cast(mask[..., None], inputs.dtype)
                sums.append(tf.reduce_sum(of(inputs, there), axes))
        return tf.add_n(sums)

    masked = mask_of(parts[0]) is not None
    count = total(lambda _, there: there) + (backend.epsilon() if masked else 0.0)
    mean = total(lambda inputs, there: inputs * there) / count
    around = tf.stop_gradient(tf.reshape(mean, along))  # its own gradient is 0
    return mean, total(lambda inputs, there: there * (inputs - around) ** 2) / count


def _graph(operation: Any) -> Iterator[Any]:
    """All operations in the graph, including those of nested models."""
    function = graph_of(operation)
    for inner in function.operations if function is not None else ():
        yield from _graph(inner)
    if function is None:
        yield operation
