"""Where data lies and what its content is, found with the standard library alone: `plan` must be fast."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TypeVar

from tidegate.models.data.packaged_datasets import PACKAGED, package_folders, packaged_files
from tidegate.models.errors import SourceError, nearest_name

# Those without a suffix are told by folders.
FORMATS = {
    "npz": (".npz",),
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz"),
    "parquet": (".parquet", ".pq"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "idx": ("-ubyte", "-ubyte.gz"),
    "tfrecord": (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz"),
    "image_folder": (),
    "audio_folder": (),
    "boxes": (),
}
SHARD = re.compile(r"-\d+-of-\d+$")  # behind the suffix, as TensorFlow names the files of one data set
# What a byte of a file takes in memory once it is read, about: digits of text become numbers of eight bytes, pictures
# are compressed. An .npz says it itself.
GROWTH = {"csv": 4, "jsonl": 4, "parquet": 6, "tfrecord": 4, "image_folder": 10, "audio_folder": 2}
GZIP_GROWTH = 5
SKLEARN_FILES = {
    "digits": ("digits.csv.gz",),
    "wine": ("wine_data.csv",),
    "diabetes": ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
}
FASHION_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
FASHION_VARIABLE = "TIDEGATE_FASHION_MNIST"
FASHION_FOLDERS = ("/usr/share/datasets/fashion-mnist", "~/.keras/datasets/fashion-mnist")
AnyPath = TypeVar("AnyPath", bound=PurePath)
# Made by `tidegate.models.datasets` and the same everywhere: these words stand for their content, and change with it.
GENERATED = {"line": "1,000 rows of y = 3x + 2 + noise, first version"}
DATASET_NAMES = (*SKLEARN_FILES, "fashion-mnist", *GENERATED, *PACKAGED)


def source_digest(*, dataset: str | None = None, source: str | Path | None = None) -> str:
    """SHA-256 (hex) of the content of a built-in dataset or of a source; the same wherever the files lie.

    Raises:
        SourceError: an unknown dataset, or a source that is not there or not readable.
    """
    if dataset in GENERATED:
        return hashlib.sha256(GENERATED[dataset].encode()).hexdigest()
    if dataset is not None:
        files = dataset_files(dataset)
        # The published set never changes, and need not be here yet: its name stands for its content.
        if dataset == "fashion-mnist" and FASHION_VARIABLE not in os.environ:
            return hashlib.sha256(b"fashion-mnist, as published in 2017").hexdigest()
        return _digest(files, files[0].parent)
    path = existing(source)
    return _digest(source_files(path), root_of(path))


def existing(source: str | Path | None) -> Path:
    """The source as a path that is there.

    Raises:
        SourceError: no source, a source in S3, or a path that is not there.
    """
    if source is None or not str(source):
        raise SourceError("there is no data; expected data.source or data.dataset; state one of them")
    if str(source).startswith("s3:"):
        raise SourceError(
            f"data.source is {source}; expected a file or folder of this machine: "
            "reading from S3 is not supported; copy the data here and name its path"
        )
    path = Path(source)
    if is_pattern(path):
        if not source_files(path):
            raise SourceError(
                f"data.source {path} matches no file; expected the files of one data set, such as "
                "shards/*.parquet; a relative path starts at the experiment file"
            )
    elif not path.exists():
        raise SourceError(
            f"data.source {path} does not exist; expected a file or folder{_nearby(path)}; "
            "a relative path starts at the experiment file"
        )
    return path


def bytes_in_memory(sizes: Mapping[str, int], name: str) -> int:
    """About how many bytes the rows of a source take once they are read.

    Args:
        sizes: bytes of each of its files, by name.
        name: its format.
    """
    whole = sum(size * (GZIP_GROWTH if file.endswith(".gz") else 1) for file, size in sizes.items())
    return whole * GROWTH.get(name, 1)


def file_sizes(path: Path) -> dict[str, int]:
    """The bytes of each file of a source; of an .npz those of its arrays."""
    return {str(file): _size(file) for file in source_files(path)}


def file_bytes(file: Path) -> int:
    """The bytes that a file holds; of a compressed one about."""
    return file.stat().st_size * (GZIP_GROWTH if file.suffix == ".gz" else 1)


def _size(file: Path) -> int:
    if file.suffix == ".npz" and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return sum(member.file_size for member in archive.infolist())
    return file.stat().st_size


def is_pattern(path: Path) -> bool:
    """Whether the last part of a path stands for several files, as shell patterns do."""
    return any(mark in path.name for mark in "*?[") and not path.exists()


def root_of(path: Path) -> Path:
    """The folder that the files of a source lie in."""
    return path if path.is_dir() else path.parent


def source_files(path: Path) -> list[Path]:
    """All files that a source is made of, sorted; of an idx images file also its labels file."""
    if is_pattern(path):
        return sorted(file for file in path.parent.glob(path.name) if file.is_file())
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    return [path, idx_labels(path)] if idx_labels(path).is_file() and idx_labels(path) != path else [path]


def files_of_format(path: Path, name: str) -> list[Path]:
    """The files that a source has of a format: of a folder those whose names tell it, or all where none does."""
    files = source_files(path)
    return [file for file in files if path.is_dir() and format_of_name(file.name) == name] or files


def idx_labels(images: AnyPath) -> AnyPath:
    """The labels file that belongs to an idx images file; the same path if it is no images file."""
    return images.with_name(
        images.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
    )


def guess_format(path: Path) -> str:
    """The format that a path's suffix, or a folder's content, tells.

    Raises:
        SourceError: it tells nothing, or several.
    """
    if path.is_dir() or is_pattern(path):
        files = source_files(path)
        if any("images-idx3" in file.name for file in files if file.parent == path):
            return "idx"
        if path.is_dir() and any(entry.is_dir() for entry in path.iterdir()):
            recorded = any(file.suffix.lower() == ".wav" for file in files)
            return "audio_folder" if recorded else "image_folder"
        if path.is_dir() and _has_boxes(files):
            return "boxes"
        told = {format_of_name(file.name) for file in files}
    else:
        told = {format_of_name(path.name)}
    if len(told) == 1 and (found := told.pop()):
        return found
    raise SourceError(
        f"{path} does not tell its format; expected a name ending such as .npz, .csv, .parquet or .jsonl, "
        "a folder of such files, one with one folder a class, or of images and a .csv of their boxes; state "
        f"data.format: one of {', '.join(FORMATS)}"
    )


def format_of_name(name: str) -> str | None:
    """The format that a file's name tells by its end."""
    plain = SHARD.sub("", name.lower())
    return next((known for known, ends in FORMATS.items() if ends and plain.endswith(ends)), None)


def _has_boxes(files: list[Path]) -> bool:
    """Whether there is one file that could say where boxes are, beside images."""
    said = [file for file in files if file.suffix in (".csv", ".json")]
    return len(said) == 1 and any(
        file.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff") for file in files
    )


def check_format(name: str) -> str:
    """The format itself, if a reader of that name is here.

    Raises:
        SourceError: there is none; names the nearest.
    """
    if name not in FORMATS:
        near = nearest_name(name, FORMATS)
        hint = f"did you mean {near!r}?" if near else "convert the data to one of them"
        raise SourceError(f"data.format is {name!r}; expected one of {', '.join(FORMATS)}; {hint}")
    return name


def check_tile(tile: int | None, can: bool, what: str) -> None:
    """Refuse tiles of what has no images with boxes; raises SourceError."""
    if tile is not None and not can:
        raise SourceError(
            f"data.tile is {tile} and {what}; expected images with boxes, format boxes; leave data.tile out"
        )


def dataset_files(name: str) -> list[Path]:
    """The files of a built-in dataset; empty for a fashion-mnist to be downloaded first, and for one that is made.

    Raises:
        SourceError: an unknown name, or a dataset whose package is not installed.
    """
    if name not in DATASET_NAMES:
        near = nearest_name(name, DATASET_NAMES)
        hint = f"did you mean {near!r}?" if near else "or state data.source: a file or folder"
        raise SourceError(f"data.dataset is {name!r}; expected one of {', '.join(DATASET_NAMES)}; {hint}")
    if name in GENERATED:
        return []
    if name in PACKAGED:
        return packaged_files(name)
    return _fashion_files() if name == "fashion-mnist" else _sklearn_files(name)


def _sklearn_files(name: str) -> list[Path]:
    folders = package_folders("sklearn")  # importing it takes a second
    files = [Path(folder, "datasets", "data", file) for folder in folders for file in SKLEARN_FILES[name]]
    if files and all(file.is_file() for file in files):
        return files
    raise SourceError(
        f"dataset {name!r} comes with scikit-learn, which is not here; expected "
        f"{SKLEARN_FILES[name][0]} in it; run `pip install scikit-learn`"
    )


def _fashion_files() -> list[Path]:
    stated = os.environ.get(FASHION_VARIABLE)
    for folder in (stated,) if stated else FASHION_FOLDERS:
        files = [Path(folder).expanduser() / name for name in FASHION_FILES]
        if all(file.is_file() for file in files):
            return files
    if stated:
        raise SourceError(
            f"{FASHION_VARIABLE} is {stated!r}; expected a folder with {', '.join(FASHION_FILES)}; "
            "correct it or unset it"
        )
    return []


def _digest(files: list[Path], root: Path) -> str:
    """Names below `root` and contents: a renamed class folder is other data."""
    whole = hashlib.sha256()
    for file, digest in _file_digests(files):
        whole.update(f"{digest} {file.relative_to(root).as_posix()}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _file_digests(files: list[Path]) -> Iterator[tuple[Path, str]]:
    for file in files:
        try:
            with file.open("rb") as stream:
                yield file, hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise SourceError(
                f"{file} cannot be read: {error.strerror}; expected a readable file; check its permissions"
            ) from error


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (the folder {path.parent} is not there either)"
    near = nearest_name(path.name, (entry.name for entry in path.parent.iterdir()))
    return f" (did you mean {near!r}?)" if near else ""
