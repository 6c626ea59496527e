"""Explanations of a trained model for its report: what each input adds to the predictions of some test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.models.errors import OptionsError
from tidegate.models.evaluation.metrics import to_predictions
from tidegate.models.networks.inputs import inputs_of
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms

if TYPE_CHECKING:
    from tidegate.models.training.recipe import Rows


def explain_rows(
    model: Any,
    schema: Schema,
    transforms: Transforms,
    test: Rows,
    count: int | None,
    activation: str,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Attributions of some test rows; {} if the model cannot be explained, or is not to be.

    Args:
        model: a trained Keras model.
        schema, transforms: of the data.
        test: the test rows as the model sees them.
        count: how many of them, the first ones; None or 0: none.
        activation: of the model's last layer.
        facts: of the report, which get a description of the attributions.

    Returns:
        Arrays by name, for the report.
    """
    if not count:
        return {}
    from tidegate.models.explaining.integrated_gradients import attribution_report, integrated_gradients
    from tidegate.models.explaining.keras_gradients import KerasPathGradients
    from tidegate.models.networks.predict import predict

    some = inputs_of(model, {name: array[:count] for name, array in test[0].items()})
    try:
        slopes = KerasPathGradients(model, transforms.input_specs)
        values = to_predictions(predict(model, some), activation)
        found = integrated_gradients(slopes, some, values, activation != "linear")
    except OptionsError as error:
        print(f"not explained: {error}", flush=True)
        return {}
    facts["explained"], arrays = attribution_report(found, transforms, test[1][:count], schema.target)
    print(f"explained {len(found.chosen)} rows, largest gap {np.abs(found.gaps).max():.2g}", flush=True)
    return arrays
