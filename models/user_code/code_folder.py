"""A project's code as a folder that any process can use: `code.json` beside a folder `code` with the files.

A step's process lays it out, a bundle carries it, and every process that loads the user's model or transform gets the
path of the `code.json`.
"""

from __future__ import annotations

import os
import site
import sys
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tidegate.models.user_code.project import project_document, use_project

DOCUMENT, FILES = "code.json", "code"
PACKAGES = "TIDEGATE_PACKAGES"  # in the environment: the folder of the packages that the code needs


class CodeFolder(BaseModel):
    """The content of `code.json`.

    Attributes:
        roots: folders that imports start from, relative to `code`; "." is that folder itself.
        model: the model's file, relative to `code`, or its reference; "" where a family makes the model.
        transform: the reference of the transform of raw columns, or "".
        env: variables of the environment that the code expects.
        environment: digest of the lock of packages that it needs; "" for none beside what is installed.
        pins: their versions by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    roots: tuple[str, ...] = (".",)
    model: str = ""
    transform: str = ""
    env: dict[str, str] = Field(default_factory=dict)
    environment: str = ""
    pins: dict[str, str] = Field(default_factory=dict)


def write_code(folder: Path, code: CodeFolder) -> Path:
    """Write the document beside `folder / code`, whose files are there already; return its path."""
    document = folder / DOCUMENT
    document.write_text(code.model_dump_json(), "utf-8")
    return document


def use_code(document: Path) -> CodeFolder:
    """Use the project that a `code.json` describes; nothing is compiled into its folder. A second call is free.

    Raises:
        OSError, ValueError: the document cannot be read.
    """
    code = CodeFolder.model_validate_json(document.read_bytes())
    if project_document() != document:
        sys.dont_write_bytecode = True  # a bundle may hold no files that its manifest does not list
        os.environ.update(code.env)
        time.tzset()  # $TZ may be one of them
        _use_packages(code)
        files = document.parent / FILES
        use_project([files / root for root in code.roots], document)
    return code


def _use_packages(code: CodeFolder) -> None:
    """Let what the code needs be imported, after what is installed: from $TIDEGATE_PACKAGES, or from the home."""
    home = os.environ.get("TIDEGATE_HOME")
    kept = Path(home) / "environments" / code.environment if home and code.environment else None
    folder = os.environ.get(PACKAGES) or (str(kept) if kept and kept.is_dir() else None)
    if folder:
        site.addsitedir(folder)


def is_code_folder(path: Path | None) -> bool:
    """Whether a path is that of a `code.json`, not of a model file as older bundles have it."""
    return path is not None and path.name == DOCUMENT
