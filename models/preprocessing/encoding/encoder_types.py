"""The encoders by name, as stored transforms name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate.models.preprocessing.encoding.encoders import (
    ArrayEncoder,
    Encoder,
    ImageEncoder,
    SequenceEncoder,
)
from tidegate.models.preprocessing.encoding.features_encoder import FeaturesEncoder
from tidegate.models.preprocessing.encoding.id_encoder import IdEncoder
from tidegate.models.preprocessing.encoding.raw_encoder import RawEncoder
from tidegate.models.preprocessing.encoding.text_encoder import TextEncoder

ENCODERS: dict[str, Any] = {
    "features": FeaturesEncoder,
    "array": ArrayEncoder,
    "image": ImageEncoder,
    "sequence": SequenceEncoder,
    "text": TextEncoder,
    "tokens": TextEncoder,
    "ids": TextEncoder,
    "id": IdEncoder,
    "raw": RawEncoder,
}


def build(encoder: str, content: Mapping[str, Any]) -> Encoder:
    """Build an encoder, a key of ENCODERS, from its content."""
    built: Encoder = ENCODERS[encoder](**content)
    return built
