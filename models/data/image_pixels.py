"""The pixels of image files, read one way in training, in `predict --input` and at the endpoint.

An image is turned as its EXIF orientation says (EXIF 2.32, tag 0x0112), as every viewer shows it. Its depth is kept:
8 bits are uint8, 16 bits uint16, 32-bit whole numbers int32, floats float32; a colour image has 8 bits a channel.
Transparency is left out unless the form has a channel for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.models.data.columns import Array

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GRAY = ("1", "L", "LA", "La", "I", "F")
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
PLAIN = ("1", "L", "I", "F", "RGB", *ALPHA)
ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # orientations that exchange height and width
DEPTHS = {
    "uint8": "8 bits a channel",
    "uint16": "16 bits",
    "int32": "32-bit whole numbers",
    "float32": "32-bit floats",
}


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of itself before it is decoded.

    Attributes:
        size: width and height, upright.
        colour: it has more than brightness.
        dtype: of its pixels, a key of DEPTHS.
        traits: what is converted or left out: "turned", "transparency", "frames", "depth" (a colour image of 16
            bits), or a mode such as "CMYK".
        mode: Pillow's, of the decoded image.
        raw: how its pixels stand in the file, see `raw_mode`.
    """

    size: tuple[int, int]
    colour: bool
    dtype: str
    traits: tuple[str, ...] = ()
    mode: str = ""
    raw: str = ""


@dataclass(frozen=True)
class ImageForm:
    """What all images of a column become: `size` (w, h), the number of channels, 1 is gray, and the dtype."""

    size: tuple[int, int]
    channels: int
    dtype: str = "uint8"

    @property
    def bytes(self) -> int:
        """Of one image."""
        return self.size[0] * self.size[1] * self.channels * np.dtype(self.dtype).itemsize


def header_of(image: Image) -> ImageHeader:
    """The header of an image that is open and not decoded yet."""
    turn = orientation(image)
    # A TIFF file has its own tag, and Pillow gives the upright size.
    size = image.size[::-1] if turn in TURNED and image.format != "TIFF" else image.size
    tiles = getattr(image, "tile", [])
    depth = str(tiles[0][3]) if tiles else ""
    traits = {
        "turned": turn != 1,
        "transparency": image.mode in ALPHA or "transparency" in image.info,
        "frames": getattr(image, "is_animated", False) and image.format != "MPO",
        "depth": dtype_of(image) == "uint8" and ";16" in depth,
        image.mode: image.mode not in PLAIN and not image.mode.startswith("I;"),
    }
    gray = image.mode in GRAY or image.mode.startswith("I;")
    found = tuple(name for name, is_so in traits.items() if is_so)
    return ImageHeader(size, not gray, dtype_of(image), found, image.mode, raw_mode(image))


def raw_mode(image: Image) -> str:
    """Pillow's raw mode of an image that is not decoded yet: L;4 is gray of 4 bits, L;I gray whose 0 is white.

    Of a PGM whose numbers Pillow scales it is such as L/3, with the largest number that the file states.
    """
    tiles = getattr(image, "tile", [])
    if not tiles:
        return image.mode
    stated = tiles[0][3]
    parts = stated if isinstance(stated, tuple | list) else (stated,)
    if image.format == "PPM" and image.mode == "1":
        return "1/1"
    scaled = str(tiles[0][0]).startswith("ppm") and parts[-1] not in (255, 65535)
    return f"{parts[0]}/{parts[-1]}" if scaled else str(parts[0])


def orientation(image: Image) -> int:
    """How an image must be turned to be upright, 1 to 8; 1 is not at all. Broken EXIF says nothing."""
    if image.format == "PNG" and not {"exif", "xmp", "Raw profile type exif"} & set(image.info):
        return 1  # Pillow would decode the image to look for EXIF behind its pixels
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return found if found in range(1, 9) else 1


def dtype_of(image: Image) -> str:
    """The dtype of the pixels that a file holds, a key of DEPTHS."""
    if image.mode.startswith("I;") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "uint16"
    return {"I": "int32", "F": "float32"}.get(image.mode, "uint8")


def depth_fits(found: str, form: ImageForm) -> bool:
    """Whether a file whose pixels have the dtype `found` can become `form`: how its numbers compare must be known."""
    return found == form.dtype


def pixels(image: Image, form: ImageForm) -> Array:
    """A decoded image as `(h, w)`, or `(h, w, c)` for several channels, in the form's dtype, upright and resized.

    Raises:
        ValueError: the image's depth does not fit, see `depth_fits`; its mode has no colours (LAB).
    """
    found = dtype_of(image)
    if not depth_fits(found, form):
        raise ValueError(f"has {DEPTHS[found]}; expected {DEPTHS.get(form.dtype, form.dtype)}")
    image = upright(image)
    if form.dtype == "uint8":
        shallow = image.convert(MODES[form.channels])
        return np.asarray(shallow if shallow.size == form.size else shallow.resize(form.size), np.uint8)
    deep = _deep(image, form)
    return deep if form.channels == 1 else np.repeat(deep[:, :, None], form.channels, axis=2)


def stored_pixels(image: Image, form: ImageForm) -> Array:
    """A decoded image as models made before `Field.upright` read it: as stored, in 8 bits, more cut off at 255."""
    converted = image.convert(MODES[form.channels])
    sized = converted if converted.size == form.size else converted.resize(form.size)
    return np.asarray(sized).astype(form.dtype)


def upright(image: Image) -> Image:
    """A decoded image, turned as its EXIF orientation says."""
    from PIL.Image import Transpose

    turns = (
        Transpose.FLIP_LEFT_RIGHT,
        Transpose.ROTATE_180,
        Transpose.FLIP_TOP_BOTTOM,
        Transpose.TRANSPOSE,
        Transpose.ROTATE_270,
        Transpose.TRANSVERSE,
        Transpose.ROTATE_90,
    )
    turn = orientation(image)
    return image if turn == 1 else image.transpose(turns[turn - 2])


def _deep(image: Image, form: ImageForm) -> Array:
    """Pixels of more than 8 bits; Pillow resizes them as float32."""
    from PIL import Image as pillow

    values = np.asarray(image).astype(form.dtype)
    if image.size == form.size:
        return values
    resized = np.asarray(pillow.fromarray(values.astype(np.float32)).resize(form.size))
    whole = resized if form.dtype == "float32" else np.rint(resized).clip(values.min(), values.max())
    return whole.astype(form.dtype)
