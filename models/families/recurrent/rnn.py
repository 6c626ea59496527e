"""The rnn family: a simple recurrent network over each series, concatenated with all other inputs.

Source: Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990. The equations are in
`models/equations/recurrent.py`.
"""

from __future__ import annotations

from typing import Any

from tidegate.models.families.recurrent.recurrence import RecurrentOptions, build_recurrent
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs


class Options(RecurrentOptions):
    """Options of `family: rnn`."""


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of series, see `build_recurrent`; float32 (rows, units) out."""
    import keras

    return build_recurrent(inputs, outputs, options, keras.layers.SimpleRNN, "rnn")
