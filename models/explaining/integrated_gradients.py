"""Integrated gradients in NumPy, for training and the endpoint: how much each input contributed to a prediction.

Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017). The attributions of a row sum up
to its prediction minus that of the baseline (completeness). The baseline has the mean of every number, no category,
black images, and empty words or steps, as many as the row has; a text's path runs through its embeddings. The gradients
along the path come from a Keras model (`explaining.keras_gradients`) or from its exported ONNX file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tidegate.models.preprocessing.schema import Target
    from tidegate.models.preprocessing.transforms import Transforms

# Not captum or alibi: they need PyTorch or a loaded Keras model, and the endpoint has neither.
STEPS = 128  # points of the Gauss-Legendre quadrature on the path
POINTS = 32  # path points per call: gradients are compiled for this number
# Names of an exported file's other inputs and outputs; a model input's name has no slash. See `PathGradients`.
PLACES, PICKS, ANSWERS, PARTS = "path/places", "path/picks", "path/answers", "path/parts/"
Arrays = dict[str, NDArray[Any]]


class PathGradients(Protocol):
    """The gradients of a model along the paths from the baselines to rows.

    Attributes:
        units: width of the model's output.
    """

    units: int

    def __call__(
        self, inputs: Arrays, places: NDArray[np.float32], picks: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Arrays]:
        """Evaluate one point on the path of each of POINTS rows.

        Args:
            inputs: the rows' model inputs by name.
            places: positions on the path (points,), from 0, the baseline, to 1, the row.
            picks: weights of the outputs (points, units); their weighted sum is explained.

        Returns:
            The model's outputs at these points (points, units), and for each input the gradient of the weighted sum
            times the path's direction: float32 of the input's shape, for a text one number per word.
        """


@dataclass(frozen=True)
class Explained:
    """Rows with the attributions of their predictions.

    Attributes:
        inputs: the rows' model inputs by name.
        attributions: for each input float32 of its shape; for a text one number per word; for a sequence 0 at the
            feature that marks steps.
        chosen: the explained output (rows,): the predicted class, or the first number.
        predictions: the explained output's value, float32 (rows,); for a class its probability.
        baselines: its value at the baseline, float32 (rows,).
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
    gradients: PathGradients,
    inputs: Mapping[str, NDArray[Any]],
    values: NDArray[np.float32],
    classes: bool,
    until: float | None = None,
) -> Explained:
    """Explain the predictions of a few rows.

    Args:
        gradients: of the model.
        inputs: the rows' model inputs by name; only those that the model has.
        values: the model's predictions: probabilities (rows, classes), or numbers (rows, values).
        classes: whether they are probabilities: then the predicted class is explained, else the first number.
        until: the `time.monotonic()` after which to give up; None: never.

    Raises:
        TimeoutError: it is later than `until`.
    """
    rows = len(values)
    chosen = values.argmax(axis=1) if classes else np.zeros(rows, np.int64)
    # Of two classes the one output is the second's probability p, and the first one's is 1 - p.
    first = (chosen == 0) & classes & (gradients.units == 1)
    sign = np.where(first, -1.0, 1.0)
    picks = (sign[:, None] if gradients.units == 1 else np.eye(gradients.units)[chosen]).astype(np.float32)
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    places = np.tile(np.concatenate([[0.0], (nodes + 1) / 2]), rows)  # for each row also the baseline
    shares = np.tile(np.concatenate([[0.0], weights / 2]), rows)
    of = np.repeat(np.arange(rows), STEPS + 1)
    total: Arrays = {}
    baselines = np.zeros(rows, np.float32)
    for start in range(0, len(of), POINTS):
        if until is not None and time.monotonic() > until:
            raise TimeoutError
        points = np.arange(start, min(start + POINTS, len(of)))
        filled = np.pad(points, (0, POINTS - len(points)), mode="edge")
        few = {name: array[of[filled]] for name, array in inputs.items()}
        answers, parts = gradients(few, places[filled].astype(np.float32), picks[of[filled]])
        at_baseline = points[places[points] == 0.0]
        baselines[of[at_baseline]] = (answers[at_baseline - start] * picks[of[at_baseline]]).sum(axis=1)
        for name, part in parts.items():
            shape = (-1, *(1,) * (part.ndim - 1))
            found = total.setdefault(name, np.zeros((rows, *part.shape[1:])))
            np.add.at(found, of[points], part[: len(points)] * shares[points].reshape(shape))
    return Explained(
        dict(inputs),
        {name: array.astype(np.float32) for name, array in total.items()},
        chosen,
        values[np.arange(rows), chosen].astype(np.float32),
        baselines + first.astype(np.float32),
    )


def attribution_report(
    explained: Explained, transforms: Transforms, truth: NDArray[Any], target: Target
) -> tuple[dict[str, Any], Arrays]:
    """Return the data for `explaining.attribution_figures`: plain JSON values, and arrays by name.

    Args:
        explained: the rows and their attributions.
        transforms: the transforms of their inputs.
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
