"""Explains a release's predictions: integrated gradients of its rows, given by input column."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.explaining.integrated_gradients import Explained, PathGradients, integrated_gradients
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.errors import PredictionError
from tidegate.serving.runtimes import load_slopes


class Explainer:
    """Explains predictions with a bundle's transforms and slopes.

    Args:
        contract: what rows and predictions are.
        transforms: raw columns to model inputs.
        slopes: of the model.
    """

    def __init__(self, contract: Contract, transforms: Transforms, slopes: PathGradients) -> None:
        self._contract, self._transforms, self._slopes = contract, transforms, slopes

    @classmethod
    def of(cls, bundle: Bundle, threads: int | None = None) -> "Explainer | None":
        """Load the explainer of a bundle; None where it has none. Raises ModelLoadError."""
        if bundle.contract.explain is None:
            return None
        specs = bundle.transforms.input_specs
        slopes = load_slopes(bundle.manifest.runtime, bundle.slopes, specs, code=bundle.code, threads=threads)
        explainer = cls(bundle.contract, bundle.transforms, slopes)
        if bundle.manifest.runtime == "tensorflow":
            # Traced now, before the first request: tracing replaces layers of the model for a moment.
            units = len(bundle.contract.classes) or len(bundle.contract.target)
            columns = RequestReader(bundle.contract).parse_rows(bundle.sample[:1])
            explainer.explained(columns, np.zeros((1, units), np.float32))
        return explainer

    def explained(
        self, columns: Columns, values: NDArray[np.float32], until: float | None = None
    ) -> Explained:
        """Attributions of model inputs.

        Args:
            columns: raw, one per input of the contract.
            values: what `Predictor.predict_columns` returned for them.
            until: `time.monotonic()` after which it is given up; None: never.

        Raises:
            PredictionError: time is over.
        """
        inputs, classes = self._transforms.apply(columns), bool(self._contract.classes)
        try:
            return integrated_gradients(self._slopes, inputs, values, classes, until)
        except TimeoutError as error:
            raise PredictionError(
                "the time for this request is over; ask to explain fewer rows at a time"
            ) from error

    def explain(
        self, columns: Columns, values: NDArray[np.float32], deadline: float | None = None
    ) -> list[dict[str, Any]]:
        """Explain each row, as the response has it.

        Args:
            columns, values: see `explained`.
            deadline: seconds that it may take; None: any time.

        Returns:
            For each row `output`, the class or the target explained; its `prediction` and the `baseline`'s;
            `attributions` by input, see `Transforms.attributions_by_column`; and the `completeness_gap`, their sum
            minus the difference of the two.
        """
        found = self.explained(columns, values, None if deadline is None else time.monotonic() + deadline)
        told = self._transforms.attributions_by_column(columns, found.attributions)
        names = self._contract.classes or self._contract.target
        return [
            {
                "output": names[int(found.chosen[row])],
                "prediction": float(found.predictions[row]),
                "baseline": float(found.baselines[row]),
                "completeness_gap": float(found.gaps[row]),
                "attributions": {name: parts[row] for name, parts in told.items()},
            }
            for row in range(len(values))
        ]
