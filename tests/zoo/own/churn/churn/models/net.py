"""An embedded segment beside three numbers, and a gated layer over both."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


@keras.saving.register_keras_serializable("churn")
class Gated(layers.Layer):
    """A dense layer whose units a second one lets through."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.value = layers.Dense(units, activation="relu")
        self.gate = layers.Dense(units, activation="sigmoid")

    def build(self, shape: Any) -> None:
        """Build both layers."""
        self.value.build(shape)
        self.gate.build(shape)

    def call(self, x: Any) -> Any:
        """Gate the values."""
        return self.value(x) * self.gate(x)

    def get_config(self) -> dict[str, Any]:
        """For Keras."""
        return {**super().get_config(), "units": self.units}


def make_model(segments: int, width: int = 32, dropout: float = 0.1) -> keras.Model:
    """The network, not compiled; its inputs are called like the features."""
    segment = keras.Input((), dtype="int32", name="segment")
    numbers = [keras.Input((), name=name) for name in ("log_amount", "amount_per_visit", "weekday")]
    columns = layers.concatenate([layers.Reshape((1,))(number) for number in numbers])
    embedded = layers.Embedding(segments, 4, name="segment_embedding")(segment)
    x = layers.concatenate([embedded, layers.BatchNormalization()(columns)])
    x = layers.Dropout(dropout)(Gated(width)(x))
    return keras.Model(
        [segment, *numbers], layers.Dense(1, activation="sigmoid", name="churned")(x), name="churn"
    )
