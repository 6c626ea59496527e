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
from tidegate.models.user_code.secrets import use_secrets

DOCUMENT, FILES = "code.json", "code"
ENVIRONMENTS = "environments"  # of the home: a folder for the packages of each lock


class CodeFolder(BaseModel):
    """The content of `code.json`.

    Attributes:
        roots: folders that imports start from, relative to `code`; "." is that folder itself.
        model: the model's file, relative to `code`, or its reference; "" where a family makes the model.
        transform: the reference of the transform of raw columns, or "".
        env: variables of the environment that the code expects.
        secrets: names of secrets, whose variables it expects too.
        environment: digest of the lock of packages that it needs; "" for none beside what is installed.
        pins: their versions by name.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", protected_namespaces=())

    roots: tuple[str, ...] = (".",)
    model: str = ""
    transform: str = ""
    env: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    environment: str = ""
    pins: dict[str, str] = Field(default_factory=dict)


def write_code(folder: Path, code: CodeFolder) -> Path:
    """Write the document beside `folder / code`, whose files are there already; return its path."""
    document = folder / DOCUMENT
    document.write_text(code.model_dump_json(), "utf-8")
    return document


def read_code(document: Path) -> CodeFolder:
    """The content of a `code.json`; raises OSError or ValueError where it is none."""
    return CodeFolder.model_validate_json(document.read_bytes())


def use_code(document: Path) -> CodeFolder:
    """Use the project that a `code.json` describes; nothing is compiled into its folder. A second call is free.

    What it needs installed comes after what is installed: from the home, $TIDEGATE_HOME, or from beside the bundle.

    Raises:
        OSError, ValueError: the document cannot be read.
        UserCodeError: a secret is missing.
    """
    code = read_code(document)
    if project_document() != document:
        sys.dont_write_bytecode = True  # a bundle may hold no files that its manifest does not list
        os.environ.update(code.env)
        time.tzset()  # $TZ may be one of them
        use_secrets(_home(), code.secrets)
        packages = installed_packages(document)
        if packages is not None:
            site.addsitedir(str(packages))
        files = document.parent / FILES
        use_project([files / root for root in code.roots], document)
    return code


def installed_packages(document: Path) -> Path | None:
    """The folder of what a `code.json` needs installed: of the home, or beside the bundle; None where there is none."""
    if not is_code_folder(document):
        return None
    digest = read_code(document).environment
    places = [place / ENVIRONMENTS / digest for place in (_home(), document.parents[1])]
    return next((place for place in places if digest and place.is_dir()), None)


def _home() -> Path:
    return Path(os.environ.get("TIDEGATE_HOME") or ".tidegate")


def is_code_folder(path: Path | None) -> bool:
    """Whether a path is that of a `code.json`, not of a model file as older bundles have it."""
    return path is not None and path.name == DOCUMENT
