"""A folder `images`, and beside it a folder `masks` with an image of the same name for each, whose pixels are classes.

A mask has one number a pixel: a gray image, or one with a palette, whose places are the numbers. It is as large as its
image; where images are resized, their masks are by the nearest pixel. The numbers are those that stand in the file:
Pillow widens gray of 2 and 4 bits to 255, and turns TIFF's gray whose 0 is white.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Array, Columns, unknown_column
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.image_pixels import ImageHeader, upright
from tidegate.models.errors import FormatError, SourceError
from tidegate.models.readers import rows_per_chunk
from tidegate.models.readers.image_folder import SUFFIXES
from tidegate.models.readers.image_survey import form_of, header, open_image, read_pixels

IMAGES, MASKS = "images", "masks"  # folders
NAMES = ("image", "mask")  # columns
EXACT = (".png", ".tif", ".tiff", ".bmp", ".pgm")  # of masks: what loses no pixel
NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # modes of one number a pixel
STEPS = {"2": 85, "4": 17}  # by bits a pixel: what Pillow makes of 1 in a gray image
ROWS = 1024  # per chunk, or fewer if images are large


def read(path: Path, columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Chunks with columns `image`, see `readers.image_folder`, and `mask`, uint8 or uint16 `(n, h, w)`.

    Raises:
        SourceError, FormatError: the folder has no such layout, an image or mask has no partner, or a mask is no array
            of numbers of its image's size.
        SchemaError: a column of `columns` does not exist.
    """
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    pairs = _pairs(path)
    headers = [header(image) for image, _ in pairs]
    masks = [_mask_header(*pair, own) for pair, own in zip(pairs, headers, strict=True)]
    form = form_of([image for image, _ in pairs], headers)
    if any(own.size != form.size for own in headers):
        tell("masks are resized with their images, by the nearest pixel")
    deep = np.dtype("uint16" if any(own.dtype != "uint8" for own in masks) else "uint8")
    rows = rows_per_chunk(form.bytes + form.size[0] * form.size[1] * deep.itemsize, ROWS)
    for start in range(0, len(pairs), rows):
        part = pairs[start : start + rows]
        found: Columns = {
            "image": np.stack([read_pixels(image, form) for image, _ in part]),
            "mask": np.stack(
                [
                    _classes(mask, own.raw, form.size, deep)
                    for (_, mask), own in zip(part, masks[start : start + rows], strict=True)
                ]
            ),
        }
        yield {name: found[name] for name in columns or NAMES}


def _pairs(path: Path) -> list[tuple[Path, Path]]:
    """Each image with its mask, sorted by name."""
    if not path.is_dir() or not all((path / name).is_dir() for name in (IMAGES, MASKS)):
        raise SourceError(
            f"{path} has no folders {IMAGES} and {MASKS}; expected both, with a mask of the same name for each image; "
            "sort the files so"
        )
    images, masks = (_by_stem(path / name) for name in (IMAGES, MASKS))
    for one, other, what in ((images, masks, "mask"), (masks, images, "image")):
        lonely = sorted(set(one) - set(other))
        if lonely:
            folder = MASKS if what == "mask" else IMAGES
            raise FormatError(
                f"{len(lonely)} of {len(one)} files in {one[lonely[0]].parent} have no {what}, such as "
                f"{one[lonely[0]].name}; expected {lonely[0]} in {folder}, with a suffix of its own; add it, or take "
                "the other away"
            )
    if not images:
        raise FormatError(
            f"{path / IMAGES} has no images; expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    others = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        if not file.is_file() or file.suffix.lower() not in SUFFIXES:
            others.append(file.name)
        elif file.stem in found:
            raise FormatError(
                f"{folder} has {found[file.stem].name} and {file.name}; expected one file a name, by which image and "
                "mask belong together; rename one"
            )
        else:
            found[file.stem] = file
    if others:
        tell(
            f"{len(others)} files or folders in {folder.name}, such as {others[0]}, are no images and left out"
        )
    return found


def _mask_header(image: Path, mask: Path, own: ImageHeader) -> ImageHeader:
    """The header of a mask that fits its image."""
    if mask.suffix.lower() not in EXACT:
        palettes = "whose places in the palette are others in each file"
        why = palettes if mask.suffix.lower() == ".gif" else "which does not keep each pixel's number"
        raise FormatError(
            f"mask {mask} is {mask.suffix}, {why}; expected one of {', '.join(EXACT)}; write it again from its source"
        )
    found = header(mask)
    if found.mode not in NUMBERS or found.dtype not in ("uint8", "uint16"):
        held = f"{found.dtype} numbers"
        if found.mode not in (*NUMBERS, "F"):
            held = f"{'colours' if found.colour else 'brightness and transparency'} ({found.mode})"
        raise FormatError(
            f"mask {mask} has {held}; expected one whole number a pixel, as a gray image or one with a palette has, "
            "the class; write the classes' numbers"
        )
    if "/" in found.raw:
        raise FormatError(
            f"mask {mask} states {found.raw.partition('/')[2]} as its largest number, and readers scale the others; "
            "expected 255 or 65535, as in a PGM whose numbers stand for themselves; write it so, or as a PNG"
        )
    if found.size != own.size:
        turned = (
            "; the image is turned upright, as its EXIF orientation says" if "turned" in own.traits else ""
        )
        raise FormatError(
            f"mask {mask} is {found.size[0]}x{found.size[1]} and {image.name} is {own.size[0]}x{own.size[1]}{turned}; "
            "expected one size; draw the mask on the image"
        )
    return found


def _classes(mask: Path, raw: str, size: tuple[int, int], dtype: np.dtype[np.unsignedinteger]) -> Array:
    from PIL.Image import Resampling

    image = upright(open_image(mask))
    if image.size != size:
        image = image.resize(size, Resampling.NEAREST)
    return _as_stored(np.asarray(image), raw).astype(dtype)


def _as_stored(pixels: Array, raw: str) -> Array:
    """The numbers that stand in a file, of the pixels that Pillow makes of them; see `image_pixels.raw_mode`."""
    mode, _, how = raw.partition(";")
    if mode not in ("1", "L"):
        return pixels
    stored = ~pixels if "I" in how else pixels  # uint8 and bool alike
    return stored if pixels.dtype == bool else stored // STEPS.get(how.strip("IR"), 1)
