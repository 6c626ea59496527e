"""Trees seen from above, each with a box."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tidegate.models.data.columns import Columns, concat
from tidegate.models.readers.tiles import AnnotatedImage, image_rows

CORNERS = ("xmin", "ymin", "xmax", "ymax")
TILE = 200  # pixels, 20 m


def trees(files: list[Path], tile: int | None = None) -> tuple[Columns, int]:
    """`image`, uint8 `(n, tile, tile, 3)`, pieces of four scenes at 10 cm a pixel, and `boxes` of 951 trees.

    One scene tells dead trees from living ones; here all are trees.

    Args:
        files: of each scene its image and its boxes in the format of PASCAL VOC.
        tile: height and width of a piece; 200 when not given.
    """
    scenes = [_scene(image, boxes) for image, boxes in zip(files[::2], files[1::2], strict=True)]
    return concat(list(image_rows(scenes, tile or TILE))), 0


def _scene(image: Path, boxes: Path) -> AnnotatedImage:
    entries = list(ElementTree.parse(boxes).getroot().iter("object"))
    corners = [tuple(float(entry.findtext(f"bndbox/{key}", "")) for key in CORNERS) for entry in entries]
    return AnnotatedImage(image, ("Tree",) * len(entries), tuple(corners), (str(boxes),) * len(entries))
