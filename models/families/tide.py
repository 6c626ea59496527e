"""The tide family: a dense encoder of a series' past and its known future, for forecasts of many steps.

Source: Das, Kong, Leach, Mathur, Sen, Yu, "Long-term Forecasting with TiDE: Time-series Dense Encoder", TMLR 2023; each
row is centred and scaled by its own past as in Kim et al., "Reversible Instance Normalization for Accurate Time-Series
Forecasting against Distribution Shift", ICLR 2022.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tidegate.models.errors import OptionsError
from tidegate.models.families import FamilyOptions
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs

TASKS = ("forecasting",)
SMALLEST = 1e-6  # variance of a past that does not change


class Options(FamilyOptions):
    """Options of `family: tide`."""

    width: int = Field(128, ge=1, description="Width of the encoder and the decoder.")
    layers: int = Field(2, ge=1, description="Residual blocks of each of them.")
    features: int = Field(4, ge=1, description="Numbers that the other inputs of a step become.")
    step_width: int = Field(16, ge=1, description="Numbers that the decoder gives to each step.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout rate in each residual block.")
    season: int = Field(
        0, ge=0, description="Steps of a season, whose last values are added to the answers; 0: none are."
    )


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of a series; float32 (rows, units) out, step by step.

    Raises:
        OptionsError: the target is no forecast, or an input is no array of steps.
    """
    import keras
    from keras import layers, ops

    _require_forecast(inputs, outputs, options)
    series, *others = inputs.tensors.values()
    past, steps = series.shape[1], outputs.units // outputs.quantiles
    centre = ops.mean(series, axis=1, keepdims=True)
    scale = ops.sqrt(ops.var(series, axis=1, keepdims=True) + SMALLEST)
    level = (series - centre) / scale
    parts, ahead = [level], []
    known = [tensor for tensor in others if tensor.shape[1] == past + steps]
    if known:
        of_steps = _block(layers.Concatenate()([_column(one) for one in known]), options, options.features)
        parts.append(layers.Flatten()(of_steps))
        ahead.append(of_steps[:, past:])
    unknown = [tensor for tensor in others if tensor.shape[1] == past]
    if unknown:
        before = _block(layers.Concatenate()([_column(one) for one in unknown]), options, options.features)
        parts.append(layers.Flatten()(before))
    x = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for _ in range(2 * options.layers - 1):
        x = _block(x, options, options.width)
    x = _block(x, options, steps * options.step_width)
    each = [layers.Reshape((steps, options.step_width))(x), *ahead]
    answers = _block(layers.Concatenate()(each) if ahead else each[0], options, outputs.quantiles, last=True)
    answers = answers + _column(layers.Dense(steps)(level))
    if options.season:
        last = level[:, past - options.season :]
        answers = answers + _column(ops.tile(last, (1, -(-steps // options.season)))[:, :steps])
    whole = answers * ops.expand_dims(scale, -1) + ops.expand_dims(centre, -1)
    precision = keras.config.floatx()
    last_layer = layers.Reshape((outputs.units,), dtype=precision, name=outputs.name)
    return keras.Model(inputs.tensors, last_layer(whole), name="tide")


def _block(x: Any, options: Options, width: int, last: bool = False) -> Any:
    """A residual block: a hidden layer and dropout beside a linear layer, normalised together but for the last one."""
    from keras import layers

    hidden = layers.Dense(options.width, activation="relu")(x)
    made = layers.Dropout(options.dropout)(layers.Dense(width)(hidden))
    together = layers.Add()([made, layers.Dense(width)(x)])
    return together if last else layers.LayerNormalization()(together)


def _column(x: Any) -> Any:
    """Numbers (rows, steps) as (rows, steps, 1)."""
    from keras import ops

    return ops.expand_dims(x, -1)


def _require_forecast(inputs: Inputs, outputs: Outputs, options: Options) -> None:
    if not outputs.quantiles:
        raise OptionsError(
            "family 'tide' forecasts a series, and the target is none (given: "
            f"{', '.join(inputs.specs)}); expected data.forecast; state it, or use another family"
        )
    specs = list(inputs.specs.items())
    past, steps = specs[0][1].shape, outputs.units // outputs.quantiles
    for name, spec in specs:
        if spec.kind != "numeric" or len(past) > 1 or spec.shape not in (past, (past[0] + steps,)):
            raise OptionsError(
                f"family 'tide' cannot take input {name!r}, which is {spec.kind} of shape {spec.shape}; expected a "
                f"number for each of {past[0]} or {past[0] + steps} steps; use another family, such as mlp"
            )
    if options.season > past[0]:
        raise OptionsError(
            f"option 'model.season' is {options.season}, and the past has {past[0]} steps; expected at most these; "
            "lower it, or raise data.forecast.past"
        )
