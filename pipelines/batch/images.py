"""Image files, or a folder of them, brought to the size and the channels that the endpoint takes, or as they are."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tidegate.models.readers.image_folder import SUFFIXES, pixels
from tidegate.pipelines.batch import Feed, Rows, reading
from tidegate.pipelines.errors import UsageError


def open_images(
    paths: Sequence[Path], inputs: Sequence[dict[str, Any]], size: int, whole: bool = False
) -> Feed:
    """One row an image, in the order given; of a folder all images in it and below, sorted.

    Where `whole`, a row is the file itself, which the endpoint decodes.

    Raises:
        UsageError: the endpoint takes something else, or there is no image.
    """
    files = [file for path in paths for file in (_below(path) if path.is_dir() else [path])]
    if not files:
        raise UsageError(
            f"--input {paths[0]}: no image is in it; expected files ending in {', '.join(sorted(SUFFIXES))}"
        )
    names = [str(file) for file in files]
    return Feed(_chunks(files, _wanted(inputs), size, whole), len(files), names)


def _wanted(inputs: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """The shape of an image that the endpoint takes."""
    only = inputs[0]
    if len(inputs) > 1 or only["kind"] != "image":
        told = ", ".join(f"{entry['name']} ({entry['kind']})" for entry in inputs)
        raise UsageError(
            f"--input: images were given, but the endpoint takes {told}; expected one image input"
        )
    if only["dtype"] != "uint8":
        raise UsageError(
            f"--input: the endpoint takes images of {only['dtype']}, whose scale no image file tells; "
            "expected uint8; give the numbers as .npy"
        )
    shape = tuple(only["shape"])
    if shape[2:] not in ((), (1,), (3,)):
        raise UsageError(f"--input: the endpoint takes images of shape {list(shape)}; give them as .npy")
    return shape


def _below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _chunks(files: Sequence[Path], shape: tuple[int, ...], count: int, whole: bool) -> Iterator[Rows]:
    for start in range(0, len(files), count):
        yield [_file(file) if whole else _row(file, shape) for file in files[start : start + count]]


def _file(file: Path) -> dict[str, str]:
    with reading(file):
        return {"b64": base64.b64encode(file.read_bytes()).decode()}


def _row(file: Path, shape: tuple[int, ...]) -> Any:
    mode = "RGB" if shape[2:] == (3,) else "L"
    with reading(file):
        return pixels(file, mode, (shape[1], shape[0])).reshape(shape).tolist()
