"""Encoded images (PNG, JPEG, ...) to the array that the contract asks for, as the image reader brings them there."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import Field
from serving.errors import ContractError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 1 << 25
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode_image(field: Field, raw: bytes) -> NDArray[Any]:
    """Decode one image file to `field.shape` in the field's dtype: gray or colour, and resized, as it says.

    Raises:
        ContractError: not an image, or one of more than 32 million pixels.
    """
    from PIL import Image

    expected = f"an image file ({', '.join(FORMATS)}) of at most {MOST_PIXELS} pixels"
    height, width, channels = (*field.shape, 1)[:3]
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                size = f"an image of {image.width}x{image.height} pixels"
                raise ContractError(field.name, size, expected, "send it smaller")
            pixels = image.convert(MODES[channels])
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError) as error:
        received = f"{len(raw)} bytes that are no image ({type(error).__name__})"
        raise ContractError(field.name, received, expected, "send the file's bytes, or the array") from error
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height))
    return np.asarray(pixels).reshape(field.shape).astype(field.dtype)
