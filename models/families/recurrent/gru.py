"""The gru family: gated recurrent units over each series, concatenated with all other inputs before the dense head.

Source: Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio, "Learning Phrase Representations using RNN
Encoder-Decoder for Statistical Machine Translation", EMNLP 2014; read from both ends as in Schuster, Paliwal,
"Bidirectional Recurrent Neural Networks", IEEE Transactions on Signal Processing 45(11), 1997.
"""

from __future__ import annotations

from typing import Any

from tidegate.models.families.recurrent.recurrence import RecurrentOptions, build_recurrent
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.outputs import Outputs


class Options(RecurrentOptions):
    """Options of `family: gru`."""


def build(inputs: Inputs, outputs: Outputs, options: Options) -> Any:
    """Return a model of series, see `build_recurrent`; float32 (rows, units) out."""
    import keras

    return build_recurrent(inputs, outputs, options, keras.layers.GRU, "gru")
