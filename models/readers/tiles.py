"""Images of any size with boxes, as rows of one size: resized to the most common size, or cut into tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.box_column import box_problem, clip_boxes, format_boxes
from tidegate.models.data.columns import Columns
from tidegate.models.errors import FormatError
from tidegate.models.readers.image_folder import GRAY, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS = 256  # per chunk
IMAGE, BOXES = "image", "boxes"  # column names


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and its boxes: left, top, right, bottom in pixels; `places` names the source of each box."""

    file: Path
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    places: tuple[str, ...] = ()


def image_rows(annotated: Sequence[AnnotatedImage], tile: int | None) -> Iterator[Columns]:
    """Chunks of `image`, uint8 `(n, h, w, 3)` or for gray images `(n, h, w)`, and `boxes`, see `data.box_column`.

    The part of a box outside of its image is cut off; the number of such boxes is printed.

    Args:
        annotated: at least one image.
        tile: height and width of a tile in pixels; None: images are resized to the most common size.

    Raises:
        FormatError: an image cannot be read, or a box has no area in it.
    """
    mode = "L" if open_image(annotated[0].file).mode in GRAY else "RGB"
    size = None if tile else _usual_size(annotated)
    images: list[NDArray[np.uint8]] = []
    cells: list[str] = []
    cut = 0
    for one in annotated:
        image = open_image(one.file).convert(mode)
        boxes, outside = _inside(one, image)
        cut += outside
        pieces = _tiles(image, one.labels, boxes, tile) if tile else [_resized(image, one, boxes, size)]
        for pixels, cell in pieces:
            images.append(pixels)
            cells.append(cell)
        if len(images) >= ROWS:
            yield _columns(images, cells)
            images, cells = [], []
    if images:
        yield _columns(images, cells)
    if cut:
        print(f"{cut} boxes were cut at the edge of their image")


def _columns(images: list[NDArray[np.uint8]], cells: list[str]) -> Columns:
    return {IMAGE: np.stack(images), BOXES: np.array(cells, object)}


def _usual_size(annotated: Sequence[AnnotatedImage]) -> tuple[int, int]:
    sizes = Counter(open_image(one.file).size for one in annotated)
    usual, count = sizes.most_common(1)[0]
    if count < len(annotated):
        print(
            f"{len(annotated) - count} of {len(annotated)} images are resized with their boxes to "
            f"{usual[0]}x{usual[1]}, the most common size"
        )
    return usual


def _inside(annotated: AnnotatedImage, image: Image) -> tuple[NDArray[np.float64], int]:
    """The boxes cut at the edges of their image, and how many were cut."""
    shape = (image.height, image.width)
    boxes = np.array(annotated.boxes, np.float64).reshape(-1, 4)
    inside = clip_boxes(boxes, shape)
    for place, box, part in zip(annotated.places, boxes, inside, strict=True):
        problem = box_problem(box, part, shape)
        if problem:
            raise FormatError(f"{place}: {problem}")
    return inside, int((boxes != inside).any(axis=1).sum())


def _resized(
    image: Image, annotated: AnnotatedImage, boxes: NDArray[np.float64], size: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], str]:
    if size is not None and image.size != size:
        boxes = boxes * np.tile(np.array(size) / image.size, 2)
        image = image.resize(size)
    return np.asarray(image, np.uint8), format_boxes(annotated.labels, boxes)


def _tiles(
    image: Image, labels: Sequence[str], boxes: NDArray[np.float64], tile: int
) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Tiles without overlap, so that no two rows share a pixel; black beyond the right and lower edge of the image.

    A box belongs to the tile that contains its centre, as in Liu et al. 2016, section 2.2, and is cut at its edges.
    """
    pixels = np.asarray(image, np.uint8)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for top in range(0, image.height, tile):
        for left in range(0, image.width, tile):
            piece = np.zeros((tile, tile, *pixels.shape[2:]), np.uint8)
            part = pixels[top : top + tile, left : left + tile]
            piece[: part.shape[0], : part.shape[1]] = part
            corner = np.array([left, top])
            own = np.flatnonzero(((centres >= corner) & (centres < corner + tile)).all(axis=1)).tolist()
            moved = clip_boxes(boxes[own] - np.tile(corner, 2), (tile, tile))
            yield piece, format_boxes([labels[place] for place in own], moved)
