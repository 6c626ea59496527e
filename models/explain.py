"""What in a row led to its prediction: integrated gradients of a trained model.

Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017). The attributions of a row sum up
to the prediction minus that of the baseline (completeness). The baseline has the mean of every number, no category,
black images, and in place of words or steps nothing, their number being as it is; a text's path runs through its
embeddings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import OptionsError
from models.inputs import inputs_of

if TYPE_CHECKING:
    from models.schema import Target
    from models.transforms import InputSpec, Transforms

STEPS = 128  # points of the path, of a Gauss-Legendre quadrature
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Explained:
    """Rows and what led to their predictions.

    Attributes:
        inputs: the rows' model inputs by name.
        attributions: for each of them float32 of its shape; of a text one a word, of a sequence 0 at the feature that
            says where steps are.
        chosen: the output explained, (rows,): the class predicted, or the first number.
        predictions: the output, float32 (rows,); of a class its probability.
        baselines: the baseline's, float32 (rows,).
    """

    inputs: Arrays
    attributions: Arrays
    chosen: NDArray[np.int64]
    predictions: NDArray[np.float32]
    baselines: NDArray[np.float32]

    @property
    def gaps(self) -> NDArray[np.float32]:
        """How far each row's attributions are from completeness, (rows,)."""
        rows = len(self.chosen)
        sums = sum(array.reshape(rows, -1).sum(axis=1) for array in self.attributions.values())
        return np.asarray(sums - (self.predictions - self.baselines), np.float32)


def integrated_gradients(
    model: Any, inputs: Mapping[str, NDArray[Any]], specs: Mapping[str, InputSpec], activation: str
) -> Explained:
    """Explain the predictions of a few rows.

    Args:
        model: a trained Keras model, on TensorFlow or JAX.
        inputs: the rows' model inputs by name.
        specs: their kinds.
        activation: of the model's outputs, see `models.metrics.to_predictions`.

    Raises:
        OptionsError: a text is read by no Embedding layer, or the backend is another one.
    """
    given = inputs_of(model, inputs)
    texts = [name for name in given if specs[name].kind == "text"]
    layers = _embeddings(model, given, texts)
    ends = {name: array for name, array in given.items() if name not in texts}
    ends |= {name: np.asarray(layer(given[text])) for name, (text, layer) in layers.items()}
    starts = {name: _baseline(name, array, specs) for name, array in ends.items()}
    answer = _answer(model, given, layers)
    raw = np.asarray(answer(ends), np.float32)
    one = raw.shape[1] == 1
    chosen = (raw[:, 0] > 0.5).astype(np.int64) if one and activation == "sigmoid" else raw.argmax(axis=1)
    chosen = np.zeros_like(chosen) if activation == "linear" else chosen
    sign = np.where(chosen == 0, -1, 1) if activation == "sigmoid" else np.ones(len(raw))
    picks = (np.zeros((len(raw), 1)) + sign[:, None] if one else np.eye(raw.shape[1])[chosen]).astype(
        np.float32
    )
    offset = (sign < 0).astype(np.float32)  # of two classes the first one's probability is 1 - p
    total = {name: np.zeros(array.shape, np.float64) for name, array in ends.items()}
    gradient = _gradient(answer, picks)
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = {name: starts[name] + np.float32(node) * (ends[name] - starts[name]) for name in ends}
        for name, slope in gradient(point).items():
            total[name] += weight * slope
    parts = {name: (total[name] * (ends[name] - starts[name])).astype(np.float32) for name in ends}
    attributions = {name: array for name, array in parts.items() if name in given}
    for name, (text, _) in layers.items():
        attributions[text] = attributions.get(text, np.float32(0)) + parts[name].sum(axis=-1)
    base = np.asarray(answer(starts), np.float32)
    return Explained(
        given,
        attributions,
        chosen,
        (raw * picks).sum(axis=1) + offset,
        (base * picks).sum(axis=1) + offset,
    )


def told(
    explained: Explained, transforms: Transforms, truth: NDArray[Any], target: Target
) -> tuple[dict[str, Any], Arrays]:
    """Return what `models.attributions` draws: plain facts, and arrays by name.

    Args:
        explained: rows, explained.
        transforms: what made their inputs.
        truth: int class indices (rows,) or numbers (rows, values).
        target: what is predicted.
    """
    titles = []
    for row, gap in enumerate(explained.gaps):
        prediction, base = float(explained.predictions[row]), float(explained.baselines[row])
        if target.task == "classification":
            chosen, true = (target.classes[int(place)] for place in (explained.chosen[row], truth[row]))
            said = f"predicted {chosen} at {prediction:.3f}, true {true}"
        else:
            said = f"predicted {prediction:.4g}, true {float(np.ravel(truth[row])[0]):.4g}"
        titles.append(f"{said}, baseline {base:.3g}, gap {abs(gap):.1g}")
    specs, entries = transforms.input_specs, []
    for name, values in explained.inputs.items():
        labels = transforms.labels(name, values)
        entries.append({"name": name, "kind": specs[name].kind, "labels": labels})
    arrays = {f"input/{name}": array for name, array in explained.inputs.items()}
    arrays |= {f"attribution/{name}": array for name, array in explained.attributions.items()}
    return {"titles": titles, "inputs": entries}, arrays


def _baseline(name: str, array: NDArray[Any], specs: Mapping[str, InputSpec]) -> NDArray[Any]:
    start = np.zeros_like(array)
    if name in specs and specs[name].kind == "sequence":
        start[..., -1] = array[..., -1]  # where steps are
    return start


def _embeddings(model: Any, given: Arrays, texts: list[str]) -> dict[str, tuple[str, Any]]:
    """The text that each Embedding layer reads, by a name of the layer's own; found by calling the model once."""
    import keras

    layers = (
        [one for one in model._flatten_layers() if isinstance(one, keras.layers.Embedding)] if texts else []
    )
    seen: dict[str, tuple[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        for place, layer in enumerate(layers):

            def spy(ids: Any, *, layer: Any = layer, call: Any = layer.call, place: int = place) -> Any:
                for text in texts:
                    if np.array_equal(np.asarray(ids), given[text]):
                        seen[f"embedding {place} of {text}"] = (text, layer)
                return call(ids)

            stack.enter_context(_called(layer, spy))
        if texts:
            model(given, training=False)
    for text in texts:
        if text not in {known for known, _ in seen.values()}:
            raise OptionsError(
                f"Option 'training.explain' is given and no Embedding layer reads the text {text!r}. Expected one, "
                "because a gradient needs numbers. Let build() give the ids to keras.layers.Embedding, or leave "
                "explain out."
            )
    return seen


@contextlib.contextmanager
def _called(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Let a layer answer by another function for a while."""
    before = layer.call
    layer.call = call
    try:
        yield
    finally:
        layer.call = before


def _answer(
    model: Any, given: Arrays, layers: dict[str, tuple[str, Any]]
) -> Callable[[Mapping[str, Any]], Any]:
    """The model as a function of its numbers and of its texts' embeddings."""

    import keras

    def answer(values: Mapping[str, Any]) -> Any:
        with contextlib.ExitStack() as stack:
            for name, (_, layer) in layers.items():
                stack.enter_context(_called(layer, lambda _, value=values[name]: value))
            whole = {name: values.get(name, array) for name, array in given.items()}
            return model({name: keras.ops.convert_to_tensor(whole[name]) for name in whole}, training=False)

    return answer


def _gradient(answer: Callable[..., Any], picks: NDArray[np.float32]) -> Callable[[Arrays], Arrays]:
    """The slope of the picked outputs at a point, by input; rows do not depend on each other."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        slope = jax.jit(jax.grad(lambda point: (answer(point) * picks).sum()))
        return lambda point: {name: np.asarray(array) for name, array in slope(point).items()}
    if keras.backend.backend() != "tensorflow":
        raise OptionsError(
            f"Option 'training.explain' needs gradients on TensorFlow or JAX, and Keras runs on "
            f"{keras.backend.backend()}. Leave explain out."
        )
    import tensorflow as tf

    def taped(tensors: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = tf.reduce_sum(answer(tensors) * picks)
        return tape.gradient(value, tensors, unconnected_gradients="zero")

    compiled: Any = tf.function(taped, autograph=False)

    def gradient(point: Arrays) -> Arrays:
        found = compiled({name: tf.constant(array) for name, array in point.items()})
        return {name: np.asarray(tf.convert_to_tensor(array)) for name, array in found.items()}

    return gradient
