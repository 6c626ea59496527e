"""The files of a project by what they are: Python, data, trained models, requirements."""

import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.models.data.sources import format_of_name
from tidegate.models.readers.image_folder import SUFFIXES
from tidegate.pipelines.planning.project.listing import TOOLS

MODELS = (".keras", ".onnx")
REQUIREMENTS = ("requirements.txt", "uv.lock", "pyproject.toml")  # the first that is there
TABLES = ("csv", "parquet", "jsonl", "npz")
PARTS = ("train", "test", "validation", "valid", "val", "dev")
MOST = 20_000  # files that are looked at


@dataclass(frozen=True)
class Source:
    """Data that a reader can read.

    Attributes:
        path: of the file, the folder or the pattern, relative to the project.
        files: how many.
        example: one of them.
        format: a reader's name.
    """

    path: str
    files: int
    example: Path
    format: str


def walked(folder: Path) -> list[Path]:
    """The project's files, without those of tools, of virtual environments and behind links."""
    return sorted(file for _, file in zip(range(MOST), _walk(folder), strict=False))


def _walk(folder: Path) -> Iterator[Path]:
    for above, folders, names in os.walk(folder):
        if "pyvenv.cfg" in names:
            folders[:] = []
            continue
        folders[:] = sorted(name for name in folders if name not in TOOLS and not name.startswith("."))
        yield from (Path(above, name) for name in sorted(names) if not name.startswith("."))


def requirements_in(folder: Path) -> str | None:
    """The file that says what the project needs installed; a pyproject.toml only where it lists dependencies."""
    for name in REQUIREMENTS:
        file = folder / name
        if file.is_file() and (name != "pyproject.toml" or _lists_dependencies(file)):
            return name
    return None


def _lists_dependencies(file: Path) -> bool:
    try:
        return bool(tomllib.loads(file.read_text("utf-8")).get("project", {}).get("dependencies"))
    except (OSError, ValueError):
        return False


def sources_in(folder: Path, files: Sequence[Path]) -> list[Source]:
    """Data of the project: files of one table, folders of files, and folders of images by class; the largest first."""
    grouped: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        found = format_of_name(file.name)
        if found in TABLES:
            grouped.setdefault((file.parent, found), []).append(file)
    tables = [one for (above, name), group in grouped.items() for one in _tables(folder, above, name, group)]
    tables.sort(key=lambda one: -one.example.stat().st_size * one.files)
    return [*tables, *_image_folders(folder, files)]


def _tables(folder: Path, above: Path, name: str, group: Sequence[Path]) -> Iterator[Source]:
    """One source for files that are parts of a table: train and test stay apart, as do files of different names."""
    parts = [file for file in group if _words(file) & set(PARTS)]
    if len(group) == 1 or parts or not _are_parts(group):
        yield from (Source(_relative(folder, file), 1, file, name) for file in group)
    else:
        whole = {format_of_name(file.name) for file in above.rglob("*") if file.is_file()} == {name}
        path = _relative(folder, above) if whole else f"{_relative(folder, above)}/*{group[0].suffix}"
        yield Source(path.replace("././", "./"), len(group), group[0], name)


def _are_parts(group: Sequence[Path]) -> bool:
    """Whether names differ in digits alone, as those of months or shards do."""
    return len({"".join(letter for letter in file.name if not letter.isdigit()) for file in group}) == 1


def _image_folders(folder: Path, files: Sequence[Path]) -> Iterator[Source]:
    """Folders with one folder a class, or with images and their masks."""
    classes: dict[Path, dict[Path, Path]] = {}
    for file in files:
        if file.suffix.lower() in SUFFIXES and folder not in (file.parent, file.parent.parent):
            classes.setdefault(file.parent.parent, {}).setdefault(file.parent, file)
    for above, inside in classes.items():
        if len(inside) > 1:
            masks = {one.name for one in inside} == {"images", "masks"}
            format = "masks" if masks else "image_folder"
            yield Source(_relative(folder, above), len(inside), next(iter(inside.values())), format)


def part_of(source: Source) -> str | None:
    """train, test or validation where the file's name says it."""
    words = _words(source.example) if source.files == 1 else set()
    found = next((part for part in PARTS if part in words), None)
    return "validation" if found in ("valid", "val", "dev") else found


def _words(file: Path) -> set[str]:
    return set(file.name.lower().replace("-", " ").replace("_", " ").replace(".", " ").split())


def _relative(folder: Path, path: Path) -> str:
    inside = path.relative_to(folder).as_posix()
    return "." if inside == "." else f"./{inside}"
