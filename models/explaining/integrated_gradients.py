"""What in a row led to its prediction: integrated gradients, in NumPy, for training and the endpoint alike.

Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks" (2017). The attributions of a row sum up
to the prediction minus that of the baseline (completeness). The baseline has the mean of every number, no category,
black images, and in place of words or steps nothing, their number being as it is; a text's path runs through its
embeddings. The slopes along the path come from a Keras model (`explaining.keras_gradients`) or from what was exported
of it.
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

# No captum or alibi: they need PyTorch or a loaded Keras model, and the endpoint has neither.
STEPS = 128  # points of the path, of a Gauss-Legendre quadrature
POINTS = 32  # of paths that are looked at in one call: slopes are compiled for this number
# What an exported file calls its ends beside the model's inputs, whose names have no slash; see `Slopes`.
PLACES, PICKS, ANSWERS, PARTS = "path/places", "path/picks", "path/answers", "path/parts/"
Arrays = dict[str, NDArray[Any]]


class Slopes(Protocol):
    """A model along the paths from the baselines to rows.

    Attributes:
        units: of the model's output.
    """

    units: int

    def __call__(
        self, inputs: Arrays, places: NDArray[np.float32], picks: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Arrays]:
        """Look at one point of the path of each of POINTS rows.

        Args:
            inputs: the rows' model inputs by name.
            places: (points,), from 0, the baseline, to 1, the row.
            picks: (points, units), what of the outputs is explained: their weights in a sum.

        Returns:
            The model's answers there, (points, units), and how quickly that sum changes along the path because of
            each input: float32 of its shape, of a text one a word.
        """


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
    slopes: Slopes,
    inputs: Mapping[str, NDArray[Any]],
    values: NDArray[np.float32],
    classes: bool,
    until: float | None = None,
) -> Explained:
    """Explain the predictions of a few rows.

    Args:
        slopes: of the model.
        inputs: the rows' model inputs by name; only those that the model has.
        values: its predictions for them: probabilities (rows, classes), or numbers (rows, values).
        classes: whether they are probabilities; the class predicted is explained then, else the first number.
        until: `time.monotonic()` after which it is given up; None: never.

    Raises:
        TimeoutError: time is over.
    """
    rows = len(values)
    chosen = values.argmax(axis=1) if classes else np.zeros(rows, np.int64)
    # Of two classes the one output is the second's probability p, and the first one's is 1 - p.
    first = (chosen == 0) & classes & (slopes.units == 1)
    sign = np.where(first, -1.0, 1.0)
    picks = (sign[:, None] if slopes.units == 1 else np.eye(slopes.units)[chosen]).astype(np.float32)
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    places = np.tile(np.concatenate([[0.0], (nodes + 1) / 2]), rows)  # of each row the baseline too
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
        answers, parts = slopes(few, places[filled].astype(np.float32), picks[of[filled]])
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


def told(
    explained: Explained, transforms: Transforms, truth: NDArray[Any], target: Target
) -> tuple[dict[str, Any], Arrays]:
    """Return what `explaining.attribution_figures` draws: plain facts, and arrays by name.

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
