"""Images of any size with boxes, as rows of one size: resized to the most common size, or cut into tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_column import box_problem, clip_boxes, format_boxes
from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.image_pixels import ImageHeader
from tidegate.models.errors import FormatError
from tidegate.models.readers.image_survey import form_of, header, read_pixels

ROWS = 256  # per chunk
IMAGE, BOXES = "image", "boxes"  # column names


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and its boxes: left, top, right, bottom in pixels; `places` names the source of each box.

    `size` is the width and height that the boxes were drawn on, where it is stated.
    """

    file: Path
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    places: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


def image_rows(annotated: Sequence[AnnotatedImage], tile: int | None) -> Iterator[Columns]:
    """Chunks of `image`, see `readers.image_folder`, and `boxes`, see `data.box_column`.

    Boxes are those of the upright image, as a viewer shows it. The part of a box outside of its image is cut off; the
    number of such boxes is told.

    Args:
        annotated: at least one image.
        tile: height and width of a tile in pixels; None: images are resized to the most common size.

    Raises:
        FormatError: an image cannot be read, or a box has no area in it.
    """
    headers = [header(one.file) for one in annotated]
    form = form_of([one.file for one in annotated], headers, boxes=True, resized=tile is None)
    _check_sizes(annotated, headers)
    images: list[Array] = []
    cells: list[str] = []
    cut = 0
    for one, own in zip(annotated, headers, strict=True):
        boxes, outside = _inside(one, own)
        cut += outside
        if tile:
            pieces = _tiles(read_pixels(one.file, replace(form, size=own.size)), one.labels, boxes, tile)
        else:
            boxes = boxes * np.tile(np.array(form.size) / own.size, 2)
            pieces = iter([(read_pixels(one.file, form), format_boxes(one.labels, boxes))])
        for pixels, cell in pieces:
            images.append(pixels)
            cells.append(cell)
        if len(images) >= ROWS:
            yield _columns(images, cells)
            images, cells = [], []
    if images:
        yield _columns(images, cells)
    if cut:
        tell(f"{cut} boxes were cut at the edge of their image")


def _check_sizes(annotated: Sequence[AnnotatedImage], headers: Sequence[ImageHeader]) -> None:
    """Refuse boxes that were drawn on the stored pixels of an image that is turned; tell which sizes differ else."""
    others = 0
    for one, own in zip(annotated, headers, strict=True):
        if one.size in (None, own.size):
            continue
        if "turned" in own.traits and one.size == own.size[::-1]:
            raise FormatError(
                f"image {one.file} is {_times(own.size)} upright, as its EXIF orientation says, and its boxes are for "
                f"{_times(one.size)}; expected boxes of the upright image; turn the file's pixels and take its tag "
                "away, or draw the boxes as viewers show it"
            )
        others += 1
    if others:
        tell(
            f"{others} of {len(annotated)} images have another size than their annotations state; boxes are taken as "
            "pixels of the files"
        )


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _columns(images: list[Array], cells: list[str]) -> Columns:
    return {IMAGE: np.stack(images), BOXES: np.array(cells, object)}


def _inside(annotated: AnnotatedImage, header: ImageHeader) -> tuple[NDArray[np.float64], int]:
    """The boxes cut at the edges of their image, and how many were cut."""
    shape = header.size[::-1]
    boxes = np.array(annotated.boxes, np.float64).reshape(-1, 4)
    inside = clip_boxes(boxes, shape)
    for place, box, part in zip(annotated.places, boxes, inside, strict=True):
        problem = box_problem(box, part, shape)
        if problem:
            turned = "; its EXIF orientation turns the image upright" if "turned" in header.traits else ""
            raise FormatError(f"{place}: {problem}{turned}")
    return inside, int((boxes != inside).any(axis=1).sum())


def _tiles(
    image: Array, labels: Sequence[str], boxes: NDArray[np.float64], tile: int
) -> Iterator[tuple[Array, str]]:
    """Tiles without overlap, so that no two rows share a pixel; black beyond the right and lower edge of the image.

    A box belongs to the tile that contains its centre, as in Liu et al. 2016, section 2.2, and is cut at its edges.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for top in range(0, image.shape[0], tile):
        for left in range(0, image.shape[1], tile):
            piece = np.zeros((tile, tile, *image.shape[2:]), image.dtype)
            part = image[top : top + tile, left : left + tile]
            piece[: part.shape[0], : part.shape[1]] = part
            corner = np.array([left, top])
            own = np.flatnonzero(((centres >= corner) & (centres < corner + tile)).all(axis=1)).tolist()
            moved = clip_boxes(boxes[own] - np.tile(corner, 2), (tile, tile))
            yield piece, format_boxes([labels[place] for place in own], moved)
