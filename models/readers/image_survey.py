"""What the files of a data set's images become: found from all their headers, and told where files differ.

The most common size; colour where one of them has colour, because gray becomes colour without loss; the depth of the
files (see `data.image_pixels`).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.models.data.columns import Array
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.image_pixels import DEPTHS, ImageForm, ImageHeader, depth_fits, header_of, pixels
from tidegate.models.errors import FormatError

if TYPE_CHECKING:
    from PIL.Image import Image

TRAITS = {
    "turned": "turned upright, as their EXIF orientation says and viewers show them",
    "transparency": "transparent in parts, read without it",
    "frames": "several frames or pages, read the first",
    "depth": "colours of 16 bits, read with 8",
    "P": "colours from a palette, read as RGB",
}


def header(file: Path | str, content: bytes | None = None) -> ImageHeader:
    """The header of an image file; see `open_image`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content) if content is not None else file) as image:
            return header_of(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def open_image(file: Path | str, content: bytes | None = None) -> Image:
    """Open and decode an image file.

    Args:
        file: its path; with `content`, its name in errors.
        content: the image's bytes, if it is not a file of its own.

    Raises:
        FormatError: it is not an image, or damaged.
    """
    from PIL import Image

    try:
        # Pillow 13 maps a TIFF file that it opens by name into memory, and garbles one that is turned.
        content = Path(file).read_bytes() if content is None else content
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def read_pixels(file: Path | str, form: ImageForm, content: bytes | None = None) -> Array:
    """An image file as `(h, w)` or `(h, w, c)` in the form's dtype; see `open_image`.

    Raises:
        FormatError: it cannot be read, or not as this form.
    """
    image = open_image(file, content)
    try:
        return pixels(image, form)
    except ValueError as error:
        raise FormatError(f"image {file} cannot be read: {error}; convert it, or leave it out") from error


def form_of(
    files: Sequence[Path | str], headers: Sequence[ImageHeader], boxes: bool = False, resized: bool = True
) -> ImageForm:
    """What all images become; what is changed in some of them is told.

    Args:
        files: their names.
        headers: of each.
        boxes: they have boxes, which change with them.
        resized: they become one size; else the form's size means nothing.

    Raises:
        FormatError: their depths do not go together.
    """
    _tell_traits(headers, boxes)
    size = _usual_size(headers, boxes) if resized else headers[0].size
    form = ImageForm(size, 3 if _is_colour(headers) else 1, _dtype(headers))
    for file, one in zip(files, headers, strict=True):
        if not depth_fits(one.dtype, form):
            raise FormatError(
                f"image {file} has {DEPTHS[one.dtype]}; expected {DEPTHS[form.dtype]}, {_why(headers)}; "
                "convert it, or leave it out"
            )
    return form


def _why(headers: Sequence[ImageHeader]) -> str:
    """Why the images have the depth of the form."""
    if any(one.colour for one in headers):
        return "as images in colour have"
    counts = Counter(one.dtype for one in headers)
    if counts.most_common(1)[0][1] > len(headers) / 2:
        return "as most of the others have"
    listed = ", ".join(f"{count} have {DEPTHS[dtype]}" for dtype, count in counts.most_common())
    return f"or one other depth in all files (of {len(headers)} files {listed})"


def _usual_size(headers: Sequence[ImageHeader], boxes: bool) -> tuple[int, int]:
    """The most common size (w, h); tells how many images will be resized to it."""
    sizes = Counter(one.size for one in headers)
    usual, count = sizes.most_common(1)[0]
    if count < len(headers):
        tell(
            f"{len(headers) - count} of {len(headers)} images are resized {'with their boxes ' if boxes else ''}to "
            f"{usual[0]}x{usual[1]}, the most common size"
        )
    return usual


def _is_colour(headers: Sequence[ImageHeader]) -> bool:
    gray = sum(not one.colour for one in headers)
    if 0 < gray < len(headers):
        tell(
            f"{gray} of {len(headers)} images are gray and the others have colour: all are read in colour; convert the "
            "files to have gray ones"
        )
    return gray < len(headers)


def _dtype(headers: Sequence[ImageHeader]) -> str:
    if any(one.colour for one in headers):
        return "uint8"
    return Counter(one.dtype for one in headers).most_common(1)[0][0]


def _tell_traits(headers: Sequence[ImageHeader], boxes: bool) -> None:
    counts = Counter(trait for one in headers for trait in one.traits)
    for trait, count in sorted(counts.items()):
        words = TRAITS.get(trait, f"colours of mode {trait}, read as RGB")
        more = "; their boxes are those of the upright image" if boxes and trait == "turned" else ""
        tell(f"{count} of {len(headers)} images: {words}{more}")


def _unreadable(file: Path | str, error: Exception) -> FormatError:
    return FormatError(
        f"image {file} cannot be read: {error}; expected a complete image file; replace or remove it"
    )
