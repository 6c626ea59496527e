"""An experiment file for a project, and what it is unsure of as comments."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tidegate.pipelines.experiment.code import Code
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.experiment.spec import Model
from tidegate.pipelines.scanning.candidates import loaders_among, models_among, transforms_among
from tidegate.pipelines.scanning.columns import columns_of, target_among, times_among
from tidegate.pipelines.scanning.files import MODELS, REQUIREMENTS, Source, part_of, sources_in, walked
from tidegate.pipelines.scanning.functions import Function, Module, modules_in
from tidegate.pipelines.scanning.training_calls import UNKNOWN, arguments_of, training_of

SHOWN = 5  # other candidates, and columns in a comment
UNSURE = "unsure: "
HEAD = """\
# Written from the text of the project's files; none of them was run. What was guessed says "unsure".
# `tidegate plan` shows what it would do, `tidegate submit` does it.
"""


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
class Draft:
    """The file's text, and what it is unsure of, a sentence each."""

    text: str
    unsure: list[str]


def draft(project: Path, folder: Path) -> Draft:
    """Look at a project and write an experiment file for it.

    Args:
        project: its folder.
        folder: where the file will be; paths in it are relative to this.
    """
    files = walked(project)
    modules = modules_in(project, files)
    sources = sources_in(project, files)
    found = _Found(project, os.path.relpath(project, folder), files, modules, sources)
    lines = [
        Line(f"name: {name_of(project)}"),
        *_code(found),
        *_data(found),
        *_model(found),
        *_training(found),
    ]
    unsure = [line.about.removeprefix(UNSURE) for line in lines if line.about.startswith(UNSURE)]
    return Draft(HEAD + "\n".join(str(line) for line in lines) + "\n", unsure)


def name_of(folder: Path) -> str:
    """An experiment's name made of a folder's."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:40].strip("-")
    return words or "my-experiment"


@dataclass(frozen=True)
class _Found:
    project: Path
    here: str
    files: list[Path]
    modules: list[Module]
    sources: list[Source]

    def path(self, path: str) -> str:
        """A path of the project, seen from the file."""
        return path if self.here == "." else f"{self.here}/{path.removeprefix('./')}"


def _code(found: _Found) -> Iterator[Line]:
    wanted = next((name for name in REQUIREMENTS if (found.project / name).is_file()), None)
    lines = [] if found.here == "." else [Line(f"  path: {_yaml(found.here)}", "the project's folder")]
    if wanted and "requirements" in Code.model_fields:
        lines.append(Line(f"  requirements: {_yaml(found.path(wanted))}"))
    if lines:
        yield from (Line("code:"), *lines)


def _data(found: _Found) -> Iterator[Line]:
    yield Line("data:")
    whole = [source for source in found.sources if part_of(source) in (None, "train")]
    chosen = next(iter(whole or found.sources), None)
    columns = {} if chosen is None else columns_of(chosen)
    yield from _source(found, chosen, columns)
    yield from _target(found, chosen, columns)
    yield from _transform(found, columns)
    yield from _split(found, chosen, columns)


def _source(found: _Found, chosen: Source | None, columns: dict[str, str]) -> Iterator[Line]:
    loaders = loaders_among(found.modules) if "load" in Data.model_fields else []
    if chosen is None:
        yield Line(
            f"  source: {_yaml(found.path('./data'))}", f"{UNSURE}no data was found; name a file or folder"
        )
        for loader in loaders[:1]:
            yield Line(
                f"  load: {loader.reference}", f"{UNSURE}{loader.place}; load(source, **options) -> columns"
            )
        return
    names = list(columns)
    told = f": {_few(names)}" if names else ""
    count = "a" if chosen.files == 1 else str(chosen.files)
    yield Line(f"  source: {_yaml(found.path(chosen.path))}", f"{count} {chosen.format}{told}")
    others = [
        source
        for source in found.sources
        if source != chosen and part_of(source) not in ("test", "validation")
    ]
    if others:
        yield Line(
            f"  source: {_yaml(found.path(others[0].path))}",
            f"or {_few([one.path for one in others])}",
            False,
        )
    for loader in loaders[:1]:
        yield Line(
            f"  load: {loader.reference}", f"{loader.place} reads files itself; in place of a reader", False
        )


def _target(found: _Found, chosen: Source | None, columns: dict[str, str]) -> Iterator[Line]:
    if chosen is not None and chosen.format == "image_folder":
        yield Line("  target: label", "the folders' names")
        return
    named = [name for module in found.modules for name in module.targets]
    likely = target_among(columns, named)
    if not likely:
        target = next(iter(named), "target")
        yield Line(
            f"  target: {_yaml(target)}", f"{UNSURE}the columns are not known; name the one to predict"
        )
        return
    sure = likely[0] in named
    about = (
        "as the project's code takes it"
        if sure
        else f"{UNSURE}by its name; or {_few(name for name in (*likely[1:], *columns) if name != likely[0])}"
    )
    yield Line(f"  target: {_yaml(likely[0])}", about)


def _transform(found: _Found, columns: dict[str, str]) -> Iterator[Line]:
    if "transform" not in Data.model_fields:
        return
    likely = transforms_among(found.modules, list(columns))
    for place, one in enumerate(likely[:SHOWN]):
        missing = set(one.columns) - set(columns)
        fits = place == 0 and not missing
        reads = f"{one.place} reads {_few(one.columns)}" if one.columns else one.place
        about = (
            f"{UNSURE}{reads}" if fits else f"{reads}; the data has no {_few(missing)}" if missing else reads
        )
        yield Line(f"  transform: {one.reference}", about, fits)


def _split(found: _Found, chosen: Source | None, columns: dict[str, str]) -> Iterator[Line]:
    parts = {part_of(one): one for one in found.sources if chosen is not None and one.format == chosen.format}
    if chosen is not None and part_of(chosen) == "train" and "test" in parts:
        inside = [
            f"{name}: {_yaml(found.path(parts[name].path))}"
            for name in ("validation", "test")
            if name in parts
        ]
        yield Line(f"  split: {{{', '.join(inside)}}}")
        return
    yield Line("  split: {validation: 0.1, test: 0.2}")
    for time in times_among(columns)[:1]:
        yield Line(
            f"  split: {{time: {_yaml(time)}, test: 0.2}}", "the last rows in time are the test rows", False
        )


def _model(found: _Found) -> Iterator[Line]:
    yield Line("model:")
    likely, trained = models_among(found.modules), [file for file in found.files if file.suffix in MODELS]
    addresses = [found.path(f"./{file.relative_to(found.project).as_posix()}") for file in trained]
    addresses = addresses if "trained" in Model.model_fields else []
    if likely:
        yield from _function(likely[0], found)
        for other in likely[1:SHOWN]:
            yield Line(f"  function: {other.reference}", f"or {other.place}", False)
    elif not addresses:
        yield Line(
            "  family: mlp", f"{UNSURE}no function that returns a Keras model was found; a built-in network"
        )
    for place, address in enumerate(addresses[:SHOWN]):
        yield Line(f"  trained: {_yaml(address)}", "a trained model", not likely and place == 0)


def _function(function: Function, found: _Found) -> Iterator[Line]:
    yield Line(f"  function: {function.reference}", function.place)
    given = arguments_of(function, found.modules)
    for name in (name for name in function.required if name not in ("inputs", "outputs")):
        known = given[name] is not UNKNOWN
        about = (
            "as the project calls it" if known else f"{UNSURE}build() needs it, and no call tells its value"
        )
        yield Line(f"  {name}: {_yaml(given[name] if known else None)}", about)
    for name, default in list(function.defaults.items())[:SHOWN]:
        yield Line(f"  {name}: {default}", "its default", False)


def _training(found: _Found) -> Iterator[Line]:
    known = training_of(found.modules)
    if known:
        yield Line("training:", "as the project's own calls of compile and fit say it")
        yield from (Line(f"  {key}: {_yaml(value)}") for key, value in known.items())


def _few(names: Iterable[str]) -> str:
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")


def _yaml(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
        .removesuffix("\n...\n")
        .strip()
    )
