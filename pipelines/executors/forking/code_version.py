"""What is installed and configured here, as digests, which differ once a process that starts now would be another."""

import hashlib
import json
import os
import site
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tidegate

# What Keras takes where its file lacks a key. It writes the file at its first import.
KERAS_DEFAULTS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


@cache
def first_seen() -> dict[str, str]:
    """`installed` as it was when this process first asked; a process keeps the code that it has imported."""
    return installed()


def installed() -> dict[str, str]:
    """Our source files and the installed packages, as digests; it takes some milliseconds.

    A file counts by inode, size and the times of its last change, which no copy and no `touch` can set back. A package
    counts by what its installer wrote about it, a folder that no import changes.
    """
    found = sorted(entry for root in tidegate.__path__ for entry in _sources(root))
    folders = {*site.getsitepackages(), site.getusersitepackages()}
    packages = {folder: sorted(_packages(folder)) for folder in folders if Path(folder).is_dir()}
    return {"code": digest([list(tidegate.__path__), found]), "packages": digest(packages)}


def configured(environment: Mapping[str, str]) -> str:
    """A digest of the files that Keras and Matplotlib read when they are imported.

    Args:
        environment: the variables of the process that imports them.
    """
    home = Path(environment.get("HOME") or "/")
    keras = Path(environment.get("KERAS_HOME") or home / ".keras", "keras.json")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    figures = Path(environment.get("MPLCONFIGDIR") or config / "matplotlib", "matplotlibrc")
    return digest([_keras_settings(keras), _read(figures)])


def digest(value: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _sources(folder: str) -> Iterator[tuple[str, int, int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                found = entry.stat()
                yield entry.path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from _sources(entry.path)


def _packages(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info", ".pth")):
                found = entry.stat()
                yield entry.name, found.st_ino, found.st_mtime_ns


def _keras_settings(file: Path) -> Any:
    text = _read(file)
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    return {**KERAS_DEFAULTS, **found} if isinstance(found, dict) else text


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
