"""Lines of an experiment file that is written for a project, and what they are written from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tidegate.pipelines.scanning.files import Source
from tidegate.pipelines.scanning.functions import Module

SHOWN = 5  # other candidates, and columns in a comment
UNSURE = "unsure: "


@dataclass(frozen=True)
class Line:
    """A line of the file. `about`: its comment; `active`: whether it counts, or is a comment itself."""

    text: str
    about: str = ""
    active: bool = True

    def __str__(self) -> str:
        """As it stands in the file."""
        indent = len(self.text) - len(self.text.lstrip())
        text = self.text if self.active else f"{self.text[:indent]}# {self.text[indent:]}"
        return f"{text:<40}  # {' '.join(self.about.split())}" if self.about else text


@dataclass(frozen=True)
class Found:
    """A project that was looked at. `here`: its folder, seen from the file that is written."""

    project: Path
    here: str
    files: list[Path]
    modules: list[Module]
    sources: list[Source]

    def path(self, path: str) -> str:
        """A path of the project, seen from the file."""
        return path if self.here == "." else f"{self.here}/{path.removeprefix('./')}"


def few(names: Iterable[str]) -> str:
    """The first names, for a comment."""
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")


def yaml_value(value: Any) -> str:
    """A value as YAML in one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
        .removesuffix("\n...\n")
        .strip()
    )
