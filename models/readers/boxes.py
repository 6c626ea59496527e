"""A folder of images with boxes: beside the images one file that says where which boxes are.

A `.csv` has a line a box, `image_path,xmin,ymin,xmax,ymax,label`, as DeepForest writes it; a line with an image alone
is an image without boxes. A `.json` is COCO's: `images`, `categories`, and `annotations` with `bbox` left, top, width
and height; crowds are left out. Boxes are in pixels. Images that the file does not name are not read.
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
from tidegate.models.readers.tiles import BOXES, IMAGE, Scene, rows_of_scenes

CORNERS = ("xmin", "ymin", "xmax", "ymax")
HEADER = ("image_path", *CORNERS, "label")
SUFFIXES = (".csv", ".json")


def read(path: Path, columns: Sequence[str] | None = None, tile: int | None = None) -> Iterator[Columns]:
    """Chunks with columns `image` and `boxes`, see `readers.tiles.rows_of_scenes`."""
    for name in columns or ():
        if name not in (IMAGE, BOXES):
            raise unknown_column(name, (IMAGE, BOXES), "input or target")
    file = _annotations(path)
    scenes = _Scenes(path)
    (_read_csv if file.suffix == ".csv" else _read_coco)(file, scenes)
    if not scenes.found:
        raise FormatError(f"{file} names no image; expected at least one; check its export")
    for chunk in rows_of_scenes(scenes.listed(), tile):
        yield {name: chunk[name] for name in columns or chunk}


class _Scenes:
    """The images of a folder by name, each with the boxes found so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.found: dict[str, tuple[Path, list[str], list[tuple[float, ...]], list[str]]] = {}

    def image(self, name: str, where: str) -> None:
        """Note an image; raises FormatError where there is none of that name in the folder."""
        if name in self.found:
            return
        path = self._folder / name
        inside = path.resolve().is_relative_to(self._folder.resolve())
        if not name or not inside or not path.is_file():
            here = [str(one.relative_to(self._folder)) for one in self._folder.rglob("*") if one.is_file()]
            near = nearest_name(name, here)
            hint = f"did you mean {near!r}?" if near else "put it there, or remove the line"
            raise FormatError(
                f"{where}: image {name!r} is not in {self._folder}; expected a file of it; {hint}"
            )
        self.found[name] = (path, [], [], [])

    def box(self, name: str, label: str, box: tuple[float, ...], where: str) -> None:
        """Note a box of an image that was noted."""
        if not label.strip():
            raise FormatError(
                f"{where}: a box of {name!r} has no label; expected the name of its class; add it, or remove the box"
            )
        _, labels, boxes, places = self.found[name]
        labels.append(label)
        boxes.append(box)
        places.append(where)

    def listed(self) -> list[Scene]:
        """All of them, in the order in which they were named."""
        return [
            Scene(path, tuple(labels), tuple(boxes), tuple(places))
            for path, labels, boxes, places in self.found.values()
        ]


def _annotations(path: Path) -> Path:
    if not path.is_dir():
        raise SourceError(
            f"{path} is a file; expected a folder with images and one {' or '.join(SUFFIXES)} that has their boxes; "
            "name that folder"
        )
    found = sorted(
        file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")
    )
    if len(found) == 1:
        return found[0]
    held = ", ".join(file.name for file in found) or "none"
    raise FormatError(
        f"{path} has to say where the boxes are in one {' or '.join(SUFFIXES)}; found {held}; expected exactly one; "
        "join them, or move the others elsewhere"
    )


def _read_csv(file: Path, scenes: _Scenes) -> None:
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
                    {name: (row.get(name) or "").strip() for name in HEADER}, scenes, file, table.line_num
                )
        except csv.Error as error:
            raise FormatError(
                f"{file}, line {table.line_num}: {error}; expected cells separated by commas; correct the line"
            ) from error


def _csv_row(row: dict[str, str], scenes: _Scenes, file: Path, line: int) -> None:
    where, name = f"{file}, line {line}", row["image_path"]
    scenes.image(name, where)
    if any(row[key] for key in HEADER[1:]):
        scenes.box(name, row["label"], tuple(_number(row[key], key, where) for key in CORNERS), where)


def _number(text: Any, key: str, where: str) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise FormatError(f"{where}: {key} is {text!r}; expected a number of pixels; correct it")
    return number


def _read_coco(file: Path, scenes: _Scenes) -> None:
    try:
        document = json.loads(file.read_text("utf-8"))
        labels = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
        names = {entry["id"]: str(entry["file_name"]) for entry in document["images"]}
        boxes = [
            (names[entry["image_id"]], labels[entry["category_id"]], list(entry["bbox"]))
            for entry in document["annotations"]
            if not entry.get("iscrowd")
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{file} is not in COCO's format: {type(error).__name__} {error}; expected images, annotations and "
            "categories, each annotation of an image and a category that are there; export it again"
        ) from error
    for name in names.values():
        scenes.image(name, str(file))
    for place, (name, label, box) in enumerate(boxes):
        where = f"{file}, annotation {place} (counted from 0)"
        if len(box) != 4:
            raise FormatError(f"{where}: bbox is {box}; expected left, top, width, height; correct it")
        left, top, wide, high = (_number(value, "bbox", where) for value in box)
        scenes.box(name, label, (left, top, left + wide, top + high), where)
