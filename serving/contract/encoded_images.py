"""Decodes images (PNG, JPEG, ...) to the array that the contract asks for, as the image reader does for training."""

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.image_pixels import (
    DEPTHS,
    ImageForm,
    depth_fits,
    dtype_of,
    header_of,
    pixels,
    stored_pixels,
)
from tidegate.models.preprocessing.schema import Field
from tidegate.serving.contract.casting import cast_column
from tidegate.serving.errors import ContractError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 1 << 25
ORIGINAL_SIZES = "\0sent"  # the column of the sizes before resizing; no field's name begins like this


def image_column(field: Field, values: list[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The column of images sent as arrays or as files `{"b64": ...}`, and the size of each, see `decode_images`.

    Raises:
        ContractError: naming the first row that does not fit.
    """
    files = [row for row, value in enumerate(values) if is_file(value)]
    if not files:
        column = cast_column(field, (), values)
        return column, field_sizes(field, len(column))
    decoded = decode_images(field, [_raw(field, values[row]["b64"], row) for row in files], files)
    if len(files) == len(values):
        return decoded
    column = np.empty((len(values), *field.shape), field.dtype)
    sizes = field_sizes(field, len(values))
    column[files], sizes[files] = decoded
    for row in sorted(set(range(len(values))) - set(files)):
        try:
            column[row] = cast_column(field, (), [values[row]])[0]
        except ContractError as error:
            raise ContractError(error.field, error.received, error.expected, error.fix, row) from None
    return column, sizes


def field_sizes(field: Field, rows: int) -> NDArray[np.int32]:
    """The sizes of images sent as arrays, `(rows, 2)`: that of the field."""
    return np.tile(np.array(field.shape[:2], np.int32), (rows, 1))


def is_file(value: Any) -> bool:
    """Whether a value is an encoded file, `{"b64": ...}`."""
    return type(value) is dict and len(value) == 1 and "b64" in value


def _raw(field: Field, text: Any, row: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        expected = 'base64 of an image file, as {"b64": "..."}'
        raise ContractError(field.name, f"bad b64 ({error})", expected, "encode it again", row) from error


def decode_images(
    field: Field, files: list[bytes], rows: list[int] | None = None
) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Image files as the field's column `(n, *shape)`, and the original height and width of each, `(n, 2)`.

    Args:
        field: an image field.
        files: their bytes.
        rows: the row number of each, for errors; None: counted from 0.
    """
    column = np.empty((len(files), *field.shape), field.dtype)
    sizes = np.empty((len(files), 2), np.int32)
    for place, raw in enumerate(files):
        try:
            column[place], sizes[place] = decode_image(field, raw)
        except ContractError as error:
            row = rows[place] if rows else place
            raise ContractError(error.field, error.received, error.expected, error.fix, row) from error
    return column, sizes


def can_encode(field: Field) -> bool:
    """Whether `encode_image` can write an image of this field, which `decode_image` reads."""
    deep = field.upright and field.dtype in DEPTHS and field.shape[2:] in ((), (1,))
    return field.kind == "image" and (field.dtype == "uint8" or bool(deep))


def encode_image(field: Field, pixels: NDArray[Any]) -> dict[str, str]:
    """An image as a small file, `{"b64": ...}`: JPEG; PNG with transparency or 16 bits; TIFF of more."""
    from PIL import Image

    shape = field.shape[:2] if field.shape[2:] == (1,) else field.shape
    kind = {"uint8": "JPEG", "uint16": "PNG"}.get(field.dtype, "TIFF")
    buffer = io.BytesIO()
    Image.fromarray(pixels.reshape(shape)).save(buffer, "PNG" if field.shape[2:] == (4,) else kind)
    return {"b64": base64.b64encode(buffer.getvalue()).decode()}


def decode_image(field: Field, raw: bytes) -> tuple[NDArray[Any], tuple[int, int]]:
    """Decode one image file to `field.shape` in the field's dtype: upright, converted to gray or colour, and resized.

    Returns:
        The array, and the image's original height and width; upright, if the field is.

    Raises:
        ContractError: not an image, or one of more than 32 million pixels.
    """
    from PIL import Image

    expected = f"an image file ({', '.join(FORMATS)}) of at most {MAX_PIXELS} pixels"
    height, width, channels = (*field.shape, 1)[:3]
    form = ImageForm((width, height), channels, field.dtype)
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                received = f"an image of {image.width}x{image.height} pixels"
                raise ContractError(field.name, received, expected, "send it smaller")
            size = header_of(image).size[::-1] if field.upright else (image.height, image.width)
            image.load()
            decoded = _as_trained(field, form, image) if field.upright else stored_pixels(image, form)
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError) as error:
        received = f"{len(raw)} bytes that are not an image ({type(error).__name__})"
        raise ContractError(field.name, received, expected, "send the file's bytes, or the array") from error
    return decoded.reshape(field.shape), size


def _as_trained(field: Field, form: ImageForm, image: "Image") -> NDArray[Any]:
    """As `readers.image_survey` reads the files of a data set."""
    depth = dtype_of(image)
    if not depth_fits(depth, form):
        expected = f"{DEPTHS.get(field.dtype, field.dtype)}, as in training"
        fix = "convert it, or send the array"
        raise ContractError(field.name, f"an image file of {DEPTHS[depth]}", expected, fix)
    decoded = pixels(image, form)
    if decoded.dtype.kind == "f" and not np.isfinite(decoded).all():
        raise ContractError(field.name, "an image that holds NaN", "finite numbers", "replace them")
    return decoded
