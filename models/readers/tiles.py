"""Images with boxes, of any size each, as rows of one size: brought to the size that most have, or cut into tiles."""

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

ROWS = 256  # a chunk
IMAGE, BOXES = "image", "boxes"  # the columns


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and its boxes, each left, top, right, bottom in pixels; `places` says where each stands."""

    file: Path
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    places: tuple[str, ...] = ()


def image_rows(scenes: Sequence[AnnotatedImage], tile: int | None) -> Iterator[Columns]:
    """Chunks of `image`, uint8 `(n, h, w, 3)` or of gray ones `(n, h, w)`, and `boxes`, see `data.box_column`.

    What of a box lies outside of its image is cut off, and that is said.

    Args:
        scenes: at least one.
        tile: height and width of a piece; None: images stay whole, and are resized to the size that most have.

    Raises:
        FormatError: an image cannot be read, or a box has no area in it.
    """
    mode = "L" if open_image(scenes[0].file).mode in GRAY else "RGB"
    size = None if tile else _usual_size(scenes)
    images: list[NDArray[np.uint8]] = []
    cells: list[str] = []
    cut = 0
    for scene in scenes:
        image = open_image(scene.file).convert(mode)
        boxes, outside = _inside(scene, image)
        cut += outside
        pieces = _tiles(image, scene.labels, boxes, tile) if tile else [_resized(image, scene, boxes, size)]
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


def _usual_size(scenes: Sequence[AnnotatedImage]) -> tuple[int, int]:
    sizes = Counter(open_image(scene.file).size for scene in scenes)
    usual, count = sizes.most_common(1)[0]
    if count < len(scenes):
        print(
            f"{len(scenes) - count} of {len(scenes)} images are resized to {usual[0]}x{usual[1]}, as most are, with "
            "their boxes"
        )
    return usual


def _inside(scene: AnnotatedImage, image: Image) -> tuple[NDArray[np.float64], int]:
    """The boxes as far as they lie in their image, and how many of them did not whole."""
    shape = (image.height, image.width)
    boxes = np.array(scene.boxes, np.float64).reshape(-1, 4)
    inside = clip_boxes(boxes, shape)
    for place, box, part in zip(scene.places, boxes, inside, strict=True):
        problem = box_problem(box, part, shape)
        if problem:
            raise FormatError(f"{place}: {problem}")
    return inside, int((boxes != inside).any(axis=1).sum())


def _resized(
    image: Image, scene: AnnotatedImage, boxes: NDArray[np.float64], size: tuple[int, int] | None
) -> tuple[NDArray[np.uint8], str]:
    if size is not None and image.size != size:
        boxes = boxes * np.tile(np.array(size) / image.size, 2)
        image = image.resize(size)
    return np.asarray(image, np.uint8), format_boxes(scene.labels, boxes)


def _tiles(
    image: Image, labels: Sequence[str], boxes: NDArray[np.float64], tile: int
) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Pieces without overlap, so that no two rows share a pixel; behind the right and lower edge they are black.

    A box belongs to the piece in which its middle lies, as in Liu et al. 2016, section 2.2, and is cut at its edges.
    """
    pixels = np.asarray(image, np.uint8)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for top in range(0, image.height, tile):
        for left in range(0, image.width, tile):
            piece = np.zeros((tile, tile, *pixels.shape[2:]), np.uint8)
            part = pixels[top : top + tile, left : left + tile]
            piece[: part.shape[0], : part.shape[1]] = part
            corner = np.array([left, top])
            own = np.flatnonzero(((middles >= corner) & (middles < corner + tile)).all(axis=1)).tolist()
            moved = clip_boxes(boxes[own] - np.tile(corner, 2), (tile, tile))
            yield piece, format_boxes([labels[place] for place in own], moved)
