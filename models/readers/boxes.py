"""A folder of images and one annotation file with their boxes.

A `.csv` has one line per box, `image_path,xmin,ymin,xmax,ymax,label`, as DeepForest writes it; a line with only an
image is an image without boxes. A `.json` is in COCO format: `images`, `categories`, and `annotations` with `bbox` as
left, top, width and height; crowds are skipped. Boxes are in pixels. Images that the file does not name are not read.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.errors import FormatError, SourceError, nearest_name
from tidegate.models.readers import open_text
from tidegate.models.readers.tiles import BOXES, IMAGE, AnnotatedImage, image_rows

CORNERS = ("xmin", "ymin", "xmax", "ymax")
HEADER = ("image_path", *CORNERS, "label")
SUFFIXES = (".csv", ".json")


def read(path: Path, columns: Sequence[str] | None = None, tile: int | None = None) -> Iterator[Columns]:
    """Chunks with columns `image` and `boxes`, see `readers.tiles.image_rows`."""
    for name in columns or ():
        if name not in (IMAGE, BOXES):
            raise unknown_column(name, (IMAGE, BOXES), "input or target")
    file = _annotations(path)
    annotations = _Annotations(path)
    (_read_csv if file.suffix == ".csv" else _read_coco)(file, annotations)
    if not annotations.found:
        raise FormatError(f"{file} names no image; expected at least one; check its export")
    for chunk in image_rows(annotations.listed(), tile):
        yield {name: chunk[name] for name in columns or chunk}


class _Annotations:
    """The annotated images of a folder by name, each with the boxes found so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.found: dict[str, tuple[Path, list[str], list[tuple[float, ...]], list[str]]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}  # width and height, where the file states them

    def image(self, name: str, where: str) -> None:
        """Add an image; raises FormatError if the folder has no such file."""
        if name in self.found:
            return
        path = self._folder / name
        inside = path.resolve().is_relative_to(self._folder.resolve())
        if not name or not inside or not path.is_file():
            here = [str(one.relative_to(self._folder)) for one in self._folder.rglob("*") if one.is_file()]
            near = nearest_name(name, here)
            hint = f"did you mean {near!r}?" if near else "put it there, or remove the line"
            raise FormatError(
                f"{where}: image {name!r} is not in {self._folder}; expected a file in that folder; {hint}"
            )
        self.found[name] = (path, [], [], [])

    def box(self, name: str, label: str, box: tuple[float, ...], where: str) -> None:
        """Add a box to an image that was added before."""
        if not label.strip():
            raise FormatError(
                f"{where}: a box of {name!r} has no label; expected the name of its class; add it, or remove the box"
            )
        _, labels, boxes, places = self.found[name]
        labels.append(label)
        boxes.append(box)
        places.append(where)

    def listed(self) -> list[AnnotatedImage]:
        """All images, in the order in which they were added."""
        return [
            AnnotatedImage(path, tuple(labels), tuple(boxes), tuple(places), self.sizes.get(name))
            for name, (path, labels, boxes, places) in self.found.items()
        ]


def _annotations(path: Path) -> Path:
    if not path.is_dir():
        raise SourceError(
            f"{path} is a file; expected a folder with images and one {' or '.join(SUFFIXES)} file with their boxes; "
            "set that folder"
        )
    found = sorted(
        file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")
    )
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or "none"
    raise FormatError(
        f"the {' or '.join(SUFFIXES)} files in {path} are: {names}; expected exactly one, with the boxes; "
        "join them, or move the others elsewhere"
    )


def _read_csv(file: Path, annotations: _Annotations) -> None:
    with open_text(file) as stream:
        table = csv.DictReader(stream, strict=True)
        header = [str(name).strip() for name in table.fieldnames or ()]
        missing = [name for name in HEADER if name not in header]
        if missing:
            raise FormatError(
                f"{file}: the header line is {','.join(header)!r}, without {', '.join(missing)}; expected "
                f"{','.join(HEADER)}; rename its columns"
            )
        table.fieldnames = header
        try:
            for row in table:
                _csv_row(
                    {name: (row.get(name) or "").strip() for name in HEADER},
                    annotations,
                    file,
                    table.line_num,
                )
        except csv.Error as error:
            raise FormatError(
                f"{file}, line {table.line_num}: {error}; expected cells separated by commas; correct the line"
            ) from error


def _csv_row(row: dict[str, str], annotations: _Annotations, file: Path, line: int) -> None:
    where, name = f"{file}, line {line}", row["image_path"]
    annotations.image(name, where)
    if any(row[key] for key in HEADER[1:]):
        annotations.box(name, row["label"], tuple(_number(row[key], key, where) for key in CORNERS), where)


def _number(text: Any, key: str, where: str) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise FormatError(f"{where}: {key} is {text!r}; expected a number of pixels; correct it")
    return number


def _read_coco(file: Path, annotations: _Annotations) -> None:
    try:
        document = json.loads(file.read_text("utf-8"))
        labels = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
        names = {entry["id"]: str(entry["file_name"]) for entry in document["images"]}
        sizes = {
            str(entry["file_name"]): (int(entry["width"]), int(entry["height"]))
            for entry in document["images"]
            if entry.get("width") and entry.get("height")
        }
        boxes = [
            (names[entry["image_id"]], labels[entry["category_id"]], list(entry["bbox"]))
            for entry in document["annotations"]
            if not entry.get("iscrowd")
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{file} is not in COCO format: {type(error).__name__} {error}; expected images, annotations and "
            "categories, with the image and category of each annotation; export it again"
        ) from error
    for name in names.values():
        annotations.image(name, str(file))
    annotations.sizes |= sizes
    for place, (name, label, box) in enumerate(boxes):
        where = f"{file}, annotation {place} (counted from 0)"
        if len(box) != 4:
            raise FormatError(f"{where}: bbox is {box}; expected left, top, width, height; correct it")
        left, top, wide, high = (_number(value, "bbox", where) for value in box)
        annotations.box(name, label, (left, top, left + wide, top + high), where)
