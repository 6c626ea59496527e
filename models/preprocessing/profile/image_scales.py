"""Tells what images of more than 8 bits are divided by."""

from __future__ import annotations

from tidegate.models.data.data_warnings import tell
from tidegate.models.preprocessing.encoding.encoders import ImageEncoder
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms


def tell_image_scales(schema: Schema, transforms: Transforms) -> None:
    """Tell what the images of a schema are divided by; nothing of images of 8 bits, and where it is 1."""
    encoders = {
        entry["content"]["name"]: ImageEncoder(**entry["content"])
        for entry in transforms.to_dict()["inputs"]
        if entry["encoder"] == "image"
    }
    for field in schema.inputs:
        encoder = encoders.get(field.name)
        divisor = encoder.content["divisor"] if encoder else None
        values = f"from {between}" if encoder and (between := encoder.range()) else "up to 1"
        if divisor not in (None, 1.0) and field.dtype != "uint8":
            tell(
                f"input {field.name}: the images are {field.dtype}, and are divided by {divisor:g} so that the "
                f"model gets values {values}; scale: none gives it the stored numbers"
            )
