"""An experiment file for a project, and what it is unsure of as comments."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.pipelines.experiment.spec import Model
from tidegate.pipelines.scanning.candidates import models_among
from tidegate.pipelines.scanning.draft_data import data_lines
from tidegate.pipelines.scanning.files import MODELS, requirements_in, sources_in, walked
from tidegate.pipelines.scanning.functions import Function, modules_in
from tidegate.pipelines.scanning.lines import SHOWN, UNSURE, Found, Line, yaml_value
from tidegate.pipelines.scanning.training_calls import UNKNOWN, arguments_of, training_of

HEAD = """\
# Written from the text of the project's files; none of them was run. What was guessed says "unsure".
# `tidegate plan` shows what it would do, `tidegate submit` does it.
"""


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
    found = Found(project, os.path.relpath(project, folder), files, modules, sources)
    lines = [
        Line(f"name: {name_of(project)}"),
        *_code(found),
        *data_lines(found),
        *_model(found),
        *_training(found),
    ]
    unsure = [line.about.removeprefix(UNSURE) for line in lines if line.about.startswith(UNSURE)]
    return Draft(HEAD + "\n".join(str(line) for line in lines) + "\n", unsure)


def name_of(folder: Path) -> str:
    """An experiment's name made of a folder's."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:40].strip("-")
    return words or "my-experiment"


def _code(found: Found) -> Iterator[Line]:
    wanted = requirements_in(found.project)
    lines = [] if found.here == "." else [Line(f"  path: {yaml_value(found.here)}", "the project's folder")]
    if wanted:
        about = "pinned at submit, and installed beside what is here"
        lines.append(Line(f"  requirements: {yaml_value(found.path(wanted))}", about))
    if lines:
        yield from (Line("code:"), *lines)


def _model(found: Found) -> Iterator[Line]:
    yield Line("model:")
    likely, trained = models_among(found.modules), [file for file in found.files if file.suffix in MODELS]
    addresses = [found.path(f"./{file.relative_to(found.project).as_posix()}") for file in trained]
    addresses = addresses if "trained" in Model.model_fields else []
    if likely:
        yield from _function(likely[0], found)
        for other in likely[1:SHOWN]:
            yield Line(f"  function: {other.reference}", f"or {other.place}", False)
    elif not addresses:
        family = "unet" if any(one.format == "masks" for one in found.sources[:1]) else "mlp"
        about = f"{UNSURE}no function that returns a Keras model was found; a built-in network"
        yield Line(f"  family: {family}", about)
    for place, address in enumerate(addresses[:SHOWN]):
        yield Line(f"  trained: {yaml_value(address)}", "a trained model", not likely and place == 0)


def _function(function: Function, found: Found) -> Iterator[Line]:
    trains = "an import of that file trains; put the function into a file of its own"
    about = f"{UNSURE}{function.place}; {trains}" if function.in_script else function.place
    yield Line(f"  function: {function.reference}", about)
    given = arguments_of(function, found.modules)
    for name in (name for name in function.required if name not in ("inputs", "outputs")):
        known = given[name] is not UNKNOWN
        about = (
            "as the project calls it" if known else f"{UNSURE}build() needs it, and no call tells its value"
        )
        yield Line(f"  {name}: {yaml_value(given[name] if known else None)}", about)
    for name, default in list(function.defaults.items())[:SHOWN]:
        yield Line(f"  {name}: {default}", "its default", False)


def _training(found: Found) -> Iterator[Line]:
    known = training_of(found.modules)
    if known:
        yield Line("training:", "as the project's own calls of compile and fit say it")
        yield from (Line(f"  {key}: {yaml_value(value)}") for key, value in known.items())
