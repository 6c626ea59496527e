"""Aerial images of trees, each tree with a box."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tidegate.models.data.columns import Columns, concat
from tidegate.models.readers.tiles import AnnotatedImage, image_rows

CORNERS = ("xmin", "ymin", "xmax", "ymax")
TILE = 200  # pixels, 20 m


def trees(files: list[Path], tile: int | None = None) -> tuple[Columns, int]:
    """`image`, uint8 `(n, tile, tile, 3)`, tiles of four scenes at 10 cm per pixel, and `boxes` of 951 trees.

    One scene distinguishes dead trees from living ones; here all have the label Tree.

    Args:
        files: for each scene its image and its boxes in PASCAL VOC format.
        tile: height and width of a tile in pixels; None: 200.
    """
    images = [_annotated(image, boxes) for image, boxes in zip(files[::2], files[1::2], strict=True)]
    return concat(list(image_rows(images, tile or TILE))), 0


def _annotated(image: Path, boxes: Path) -> AnnotatedImage:
    entries = list(ElementTree.parse(boxes).getroot().iter("object"))
    corners = [tuple(float(entry.findtext(f"bndbox/{key}", "")) for key in CORNERS) for entry in entries]
    return AnnotatedImage(image, ("Tree",) * len(entries), tuple(corners), (str(boxes),) * len(entries))
