"""Image files, or a folder of them, resized and converted to what the endpoint takes, or sent as they are."""

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.models.data.image_pixels import DEPTHS, ImageForm, stored_pixels
from tidegate.models.readers.image_folder import SUFFIXES
from tidegate.models.readers.image_survey import open_image, read_pixels
from tidegate.pipelines.batch import BatchInput, Chunk, Repeatable, Rows, reading
from tidegate.pipelines.errors import UsageError


def open_images(
    paths: Sequence[Path], inputs: Sequence[dict[str, Any]], size: int, as_files: bool = False
) -> BatchInput:
    """One row per image, in the order given; a folder stands for all images in it and below, sorted.

    With `as_files`, a row is the file itself, which the endpoint decodes.

    Raises:
        UsageError: the endpoint takes no images, or there is none.
    """
    files = [file for path in paths for file in (_images_in(path) if path.is_dir() else [path])]
    if not files:
        raise UsageError(
            f"--input {paths[0]}: no image is in it; expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    names = [str(file) for file in files]
    entry = _image_input(inputs)
    return BatchInput(Repeatable(partial(_chunks, files, entry, size, as_files)), len(files), names)


def _image_input(inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The contract's entry of the images that the endpoint takes."""
    only = inputs[0]
    if len(inputs) > 1 or only["kind"] != "image":
        takes = ", ".join(f"{entry['name']} ({entry['kind']})" for entry in inputs)
        raise UsageError(
            f"--input: images were given, but the endpoint takes {takes}; expected one image input"
        )
    if only["dtype"] not in (DEPTHS if only.get("upright") else ("uint8",)):
        raise UsageError(
            f"--input: the endpoint takes images of {only['dtype']}, whose scale an image file does not state; "
            "expected uint8; give the numbers as .npy"
        )
    shape = tuple(only["shape"])
    if shape[2:] not in ((), (1,), (3,)):
        raise UsageError(
            f"--input: the endpoint takes images of shape {list(shape)}; expected 1 or 3 channels; "
            "give the numbers as .npy"
        )
    return only


def _images_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _chunks(files: Sequence[Path], entry: dict[str, Any], count: int, as_files: bool) -> Iterator[Chunk]:
    for start in range(0, len(files), count):
        part = files[start : start + count]
        yield Chunk(len(part), partial(_rows, part, entry, as_files))


def _rows(files: Sequence[Path], entry: dict[str, Any], as_files: bool) -> Rows:
    return [_file(file) if as_files else _row(file, entry) for file in files]


def _file(file: Path) -> dict[str, str]:
    with reading(file):
        return {"b64": base64.b64encode(file.read_bytes()).decode()}


def _row(file: Path, entry: dict[str, Any]) -> Any:
    """An image as the endpoint would decode its file."""
    height, width, channels = (*entry["shape"], 1)[:3]
    form = ImageForm((width, height), channels, entry["dtype"])
    with reading(file):
        decoded = read_pixels(file, form) if entry.get("upright") else stored_pixels(open_image(file), form)
        return decoded.reshape(entry["shape"]).tolist()
