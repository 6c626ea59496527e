"""The gradients of a Keras model along the paths of `explaining.integrated_gradients`, on TensorFlow or JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import OptionsError
from tidegate.models.explaining.integrated_gradients import Arrays
from tidegate.models.keras_private import all_layers
from tidegate.models.networks.inputs import OF_IDS, inputs_of

if TYPE_CHECKING:
    from tidegate.models.preprocessing.transforms import InputSpec


class KerasPathGradients:
    """The gradients of a model, see `explaining.integrated_gradients.PathGradients`.

    Args:
        model: a trained Keras model, on TensorFlow or JAX.
        specs: the kinds of its inputs.

    Raises:
        OptionsError: no Embedding layer reads a text, one reads several, or the backend is another one.
    """

    def __init__(self, model: Any, specs: Mapping[str, InputSpec]) -> None:
        self._model, self._specs = model, specs
        self.units = int(model.outputs[0].shape[-1])
        self._texts = [tensor.name for tensor in model.inputs if specs[tensor.name].kind in OF_IDS]
        self._layers = embeddings(model, specs)
        self._along = self._compiled()

    def __call__(
        self, inputs: Arrays, places: NDArray[np.float32], picks: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Arrays]:
        """Evaluate one point on each row's path."""
        answers, parts = self._along(inputs_of(self._model, inputs), places, picks)
        return np.asarray(answers), {name: np.asarray(part) for name, part in parts.items()}

    def along(self, given: Mapping[str, Any], places: Any, picks: Any) -> tuple[Any, dict[str, Any]]:
        """The same with TensorFlow's tensors, as part of a graph."""
        import tensorflow as tf

        points, ways = self._path(given, places)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            answers = self._answer(given, points)
            picked = tf.reduce_sum(answers * picks)
        found = tape.gradient(picked, points, unconnected_gradients="zero")
        return answers, self._parts({name: tf.convert_to_tensor(found[name]) for name in found}, ways)

    def _compiled(self) -> Callable[..., Any]:
        import keras

        backend = keras.backend.backend()
        if backend == "jax":
            return self._on_jax()
        if backend != "tensorflow":
            raise OptionsError(
                f"option 'training.explain' is given and Keras runs on {backend}; expected TensorFlow or JAX, for "
                "gradients; leave training.explain out"
            )
        import tensorflow as tf

        compiled: Any = tf.function(self.along, autograph=False, reduce_retracing=True)
        return lambda given, *others: compiled(
            {name: tf.constant(array) for name, array in given.items()}, *map(tf.constant, others)
        )

    def _on_jax(self) -> Callable[..., Any]:
        import jax

        def picked(points: Any, given: Any, picks: Any) -> Any:
            answers = self._answer(given, points)
            return (answers * picks).sum(), answers

        def along(given: Any, places: Any, picks: Any) -> Any:
            points, ways = self._path(given, places)
            found, answers = jax.grad(picked, has_aux=True)(points, given, picks)
            return answers, self._parts(found, ways)

        compiled: Callable[..., Any] = jax.jit(along)
        return compiled

    def _path(self, given: Mapping[str, Any], places: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The points at these positions, and the paths' directions from the baselines to the rows."""
        from keras import ops

        ends = {name: tensor for name, tensor in given.items() if name not in self._texts}
        ends |= {name: layer(given[text]) for name, (text, layer) in self._layers.items()}
        points, ways = {}, {}
        for name, end in ends.items():
            goes = self._goes(name, end.shape[-1])
            place = ops.reshape(places, (-1, *(1,) * (len(end.shape) - 1)))
            ways[name] = end * goes
            points[name] = end * (1 - goes) + place * ways[name]
        return points, ways

    def _goes(self, name: str, features: int) -> NDArray[np.float32]:
        """1 for features that start from 0; 0 for the feature that marks steps, which is constant on the path."""
        goes = np.ones(features, np.float32)
        if name in self._specs and self._specs[name].kind == "sequence":
            goes[-1] = 0
        return goes

    def _answer(self, given: Mapping[str, Any], points: Mapping[str, Any]) -> Any:
        """The model as a function of its numbers and of its texts' embeddings."""
        with contextlib.ExitStack() as stack:
            for name, (_, layer) in self._layers.items():
                stack.enter_context(_called(layer, lambda _, value=points[name]: value))
            return self._model({name: points.get(name, given[name]) for name in given}, training=False)

    def _parts(self, gradients: Mapping[str, Any], ways: Mapping[str, Any]) -> dict[str, Any]:
        from keras import ops

        whole = {name: gradient * ways[name] for name, gradient in gradients.items()}
        parts = {name: part for name, part in whole.items() if name not in self._layers}
        for name, (text, _) in self._layers.items():
            part = ops.sum(whole[name], axis=-1)
            parts[text] = parts[text] + part if text in parts else part
        return parts


def embeddings(model: Any, specs: Mapping[str, InputSpec]) -> dict[str, tuple[str, Any]]:
    """Find the text that each Embedding layer reads, by calling the model once; each entry has a unique name.

    Args:
        model: a Keras model.
        specs: the kinds of its inputs.

    Raises:
        OptionsError: no Embedding layer reads a text, or one reads several.
    """
    import keras

    shapes = {tensor.name: tensor.shape[1:] for tensor in model.inputs}
    texts = [name for name in shapes if specs[name].kind in OF_IDS]
    if not texts:
        return {}
    # One row per text, with a word in a different row for each text, so that no two texts are equal.
    given = {name: np.zeros((len(texts), *shape), specs[name].dtype) for name, shape in shapes.items()}
    for row, text in enumerate(texts):
        given[text][row] = 1
    layers = [one for one in all_layers(model) if isinstance(one, keras.layers.Embedding)]
    seen: dict[str, tuple[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        for place, layer in enumerate(layers):

            def spy(ids: Any, *, layer: Any = layer, call: Any = layer.call, place: int = place) -> Any:
                for text in texts:
                    if np.array_equal(np.asarray(ids), given[text]):
                        seen[f"embedding {place} of {text}"] = (text, layer)
                return call(ids)

            stack.enter_context(_called(layer, spy))
        model(given, training=False)
    read = [text for text, _ in seen.values()]
    for text in texts:
        if text not in read:
            raise OptionsError(
                f"option 'training.explain' is given and no Embedding layer reads the text {text!r}; expected one, "
                "because gradients need numbers; let build() pass the ids to keras.layers.Embedding, or leave explain "
                "out"
            )
    if len({id(layer) for _, layer in seen.values()}) < len(seen):
        raise OptionsError(
            f"option 'training.explain' is given and one Embedding layer reads several of the texts {', '.join(read)}; "
            "expected one for each, to separate their attributions; let build() make one per text, or leave explain out"
        )
    return seen


@contextlib.contextmanager
def _called(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Replace a layer's `call` within the context."""
    before = layer.call
    layer.call = call
    try:
        yield
    finally:
        layer.call = before
