"""The lstm family: long short-term memory over each series, concatenated with all other inputs before the dense head.

Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997, with the forget gate of Gers,
Schmidhuber, Cummins, "Learning to Forget", 2000, whose bias begins at 1 (Jozefowicz, Zaremba, Sutskever, "An Empirical
Exploration of Recurrent Network Architectures", ICML 2015). The equations are in `models/equations/lstm.py`.
"""

from __future__ import annotations

from typing import Any

from tidegate.models.families.recurrent.recurrence import RecurrentOptions, build_recurrent
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs


class Options(RecurrentOptions):
    """Options of `family: lstm`."""


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of series, see `build_recurrent`; float32 (rows, units) out."""
    import keras

    return build_recurrent(inputs, outputs, options, keras.layers.LSTM, "lstm")
