"""What the user's transform imports and the serving image lacks: copied from what is installed here, for pods.

A pod of an endpoint has what serving needs, and steps have more, such as pandas. The versions are those of this
machine, with which the transform was run in training.
"""

import re
from collections.abc import Collection, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from tidegate.pipelines.planning.project.parts import SERVED, Project

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
FRAMEWORKS = {"tensorflow", "tensorflow-cpu", "keras"}  # a transform has none of them where ONNX serves
NAME = re.compile(r"[A-Za-z0-9._-]+")


def image_packages(image: str) -> set[str]:
    """The names of the distributions of one of our images."""
    spec = find_spec("tidegate.infra.images")
    assert spec is not None and spec.origin is not None
    lock = Path(spec.origin).with_name("requirements") / f"{image}.txt"
    return {_plain(name) for name in PINNED.findall(lock.read_text("utf-8"))}


def lacking(names: Collection[str], there: Collection[str]) -> list[Distribution]:
    """Installed distributions of these names and what they require, without those that are there."""
    found: dict[str, Distribution] = {}
    waiting = [_plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in there or name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # an option of another package that is not asked for
        waiting += [_plain(match.group()) for match in map(NAME.match, _required(found[name])) if match]
    return [found[name] for name in sorted(found)]


def served_files(project: Project, runtime: str) -> dict[str, Path]:
    """The files that an endpoint's pod needs beside its image, by their path; none where it has all.

    Args:
        project: whose transform the endpoint runs, and whose layers, where TensorFlow may serve the model.
        runtime: as the experiment asks for it.
    """
    onnx, tensorflow = image_packages("serve-onnx"), image_packages("serve-tensorflow")
    found = lacking(project.of(SERVED).packages, onnx | (tensorflow & FRAMEWORKS))
    if runtime != "onnx":
        found += lacking(project.of("train").packages, tensorflow)
    return {name: path for one in found for name, path in files_of(one)}


def files_of(one: Distribution) -> Iterator[tuple[str, Path]]:
    """The files of an installed distribution, by their path."""
    for file in one.files or ():
        path = Path(str(one.locate_file(file)))
        if ".." not in file.parts and "__pycache__" not in file.parts and path.is_file():
            yield file.as_posix(), path


def _required(one: Distribution) -> Iterator[str]:
    yield from (line for line in one.requires or () if "extra ==" not in line)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
