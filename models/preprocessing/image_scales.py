"""Tells what images of more than 8 bits are divided by."""

from __future__ import annotations

from tidegate.models.data.data_warnings import tell
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms


def tell_image_scales(schema: Schema, transforms: Transforms) -> None:
    """Tell what the images of a schema are divided by; nothing of images of 8 bits, and where it is 1."""
    divisors = {
        entry["content"]["name"]: entry["content"]["divisor"]
        for entry in transforms.to_dict()["inputs"]
        if entry["encoder"] == "image"
    }
    for field in schema.inputs:
        divisor = divisors.get(field.name)
        if divisor not in (None, 1.0) and field.dtype != "uint8":
            tell(
                f"input {field.name}: the images are {field.dtype}, and are divided by {divisor:g} so that the "
                "model gets values up to 1; scale: none gives it the stored numbers"
            )
