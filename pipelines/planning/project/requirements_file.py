"""A requirements.txt, pyproject.toml or uv.lock as lines: what is required, by what constraints, and from where.

Each line of the user's counts or is refused: what neither uv nor pip could pin by name and digest has a sentence.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tidegate.pipelines.errors import ExperimentError

OWN = re.compile(r"\.(?:\[([^\]]*)\])?/?")  # the project itself, and which of its extras
PLACES = {"index_url": "--index-url", "extra_index_url": "--extra-index-url", "find_links": "--find-links"}
ELSEWHERE = ("sources", "override-dependencies", "constraint-dependencies")  # of tool.uv, which uv.lock holds


@dataclass(frozen=True)
class Requirements:
    """What a file asks for.

    Attributes:
        required: one requirement each, such as `tinyone>=1`.
        constraints: the same, for packages that something else requires.
        options: lines that say where packages come from, such as `--index-url URL`; their paths are absolute.
    """

    required: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """All of them, constraints marked as such."""
        return [*self.options, *self.required, *(f"-c {one}" for one in self.constraints)]

    def written(self, folder: Path) -> Path:
        """A requirements.txt in a folder, beside a constraints.txt where there are constraints."""
        path, bounds = folder / "requirements.txt", folder / "constraints.txt"
        bounds.write_text("\n".join([*self.constraints, ""]), "utf-8")
        lines = [*self.options, *(["-c constraints.txt"] if self.constraints else []), *self.required, ""]
        path.write_text("\n".join(lines), "utf-8")
        return path

    def __add__(self, other: "Requirements") -> "Requirements":
        return Requirements(
            self.required + other.required,
            self.constraints + other.constraints,
            self.options + other.options,
        )


def read_requirements(file: Path) -> Requirements:
    """What a requirements.txt, a pyproject.toml or a uv.lock asks for, the files that it names included.

    Raises:
        ExperimentError: it cannot be read, or a line of it cannot be honoured.
    """
    try:
        if file.name == "uv.lock":
            return Requirements(tuple(_exported(file)))
        return Requirements(tuple(_of_pyproject(file))) if file.suffix == ".toml" else _of_text(file)
    except OSError as error:
        raise ExperimentError(
            f"code.requirements: {error.filename or file} cannot be read: {error.strerror}; expected a "
            "requirements.txt, pyproject.toml or uv.lock; paths resolve against the file that names them"
        ) from error


class _Options(argparse.ArgumentParser):
    """The options of a line of a requirements.txt, as pip knows them."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        for names in (
            ("-r", "--requirement"),
            ("-c", "--constraint"),
            ("-e", "--editable"),
            ("-i", "--index-url"),
        ):
            self.add_argument(*names)
        self.add_argument("-f", "--find-links")
        for name in ("--extra-index-url", "--trusted-host", "--only-binary"):
            self.add_argument(name)
        for name in ("--no-index", "--pre", "--prefer-binary"):
            self.add_argument(name, action="store_true")

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _of_text(file: Path) -> Requirements:
    found = Requirements()
    for line in file.read_text("utf-8").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        if text:
            found += _of_option(text, file) if text.startswith("-") else _of_requirement(text, file)
    return found


def _of_option(text: str, file: Path) -> Requirements:
    try:
        given = _Options().parse_args(shlex.split(text))
    except ValueError as error:
        raise _refused(text, file, f"is no option that counts here ({error})") from error
    if given.requirement:
        return _of_text(file.parent / given.requirement)
    if given.constraint:
        bounds = _of_text(file.parent / given.constraint)
        return Requirements((), bounds.required + bounds.constraints, bounds.options)
    if given.editable:
        return _of_requirement(given.editable, file)
    # only wheels are ever installed, so --only-binary and --prefer-binary hold
    flags = [f"--{name}" for name in ("no-index", "pre") if getattr(given, name.replace("-", "_"))]
    hosts = [f"--trusted-host {given.trusted_host}"] if given.trusted_host else []
    places = [
        f"{name} {_place(value, file)}" for key, name in PLACES.items() if (value := getattr(given, key))
    ]
    return Requirements((), (), (*places, *flags, *hosts))


def _place(value: str, file: Path) -> str:
    """An address as it is, a path made absolute."""
    return value if "://" in value or value.startswith("$") else str((file.parent / value).resolve())


def _of_requirement(text: str, file: Path) -> Requirements:
    if own := OWN.fullmatch(text):
        extras = [one.strip() for one in (own[1] or "").split(",") if one.strip()]
        return Requirements(tuple(_of_pyproject(file.parent / "pyproject.toml", extras)))
    name = text.partition(";")[0]
    if "://" in name or re.search(r"(^|\s)@\s|^[./~]|\.whl$", name):
        raise _refused(text, file, "is an address or a path, of which no version and digest is pinned")
    return Requirements((text,))


def _refused(text: str, file: Path, why: str) -> ExperimentError:
    shown = re.sub(r"//[^/@\s]+@", "//***@", text)  # an address may hold a password
    return ExperimentError(
        f"code.requirements: {shown!r} in {file} {why}; expected packages of an index or wheels in a folder that "
        "--find-links names, -r FILE, -c FILE, `-e .`, --index-url, --extra-index-url, --no-index, --pre or "
        "--trusted-host; correct the line"
    )


def _of_pyproject(file: Path, extras: list[str] | None = None) -> list[str]:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"code.requirements: {file}: not TOML: {error}; correct it") from error
    project = document.get("project")
    if not isinstance(project, dict):
        raise ExperimentError(
            f"code.requirements: {file} has no [project] table; expected its dependencies there; name a "
            "requirements.txt or a uv.lock instead"
        )
    _require_stated(document, project, file)
    optional = project.get("optional-dependencies", {})
    unknown = [one for one in extras or () if one not in optional]
    if unknown:
        raise ExperimentError(
            f"code.requirements: {file} has no extra {unknown[0]!r}; expected one of "
            f"{', '.join(sorted(optional)) or 'its optional-dependencies, of which there is none'}; correct the name"
        )
    chosen = [line for one in extras or () for line in optional[one]]
    return [str(one) for one in (*project.get("dependencies", []), *chosen)]


def _require_stated(document: dict[str, Any], project: dict[str, Any], file: Path) -> None:
    uv = document.get("tool", {}).get("uv", {})
    elsewhere = [f"tool.uv.{key}" for key in ELSEWHERE if uv.get(key)]
    if "dependencies" in project.get("dynamic", []):
        elsewhere.append("project.dynamic")
    if elsewhere:
        raise ExperimentError(
            f"code.requirements: {file} says by {', '.join(elsewhere)} what is installed, which is not read; expected "
            "all of it in project.dependencies; name the uv.lock, or a requirements.txt, instead"
        )


def _exported(file: Path) -> list[str]:
    uv = shutil.which("uv")
    if uv is None:
        raise ExperimentError(f"code.requirements: {file} is read with uv, which is not here; pip install uv")
    flags = ["frozen", "no-dev", "no-emit-project", "no-hashes", "no-header", "no-annotate"]
    argv = [uv, "export", *(f"--{flag}" for flag in flags)]
    done = subprocess.run(argv, cwd=file.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        cause = " ".join(done.stderr.split())[:500]
        raise ExperimentError(
            f"code.requirements: {file} cannot be read: {cause}; run `uv lock` in its folder"
        )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return [line for one in lines for line in _of_exported(one, file)]


def _of_exported(line: str, file: Path) -> tuple[str, ...]:
    return _of_requirement(line.removeprefix("-e "), file).required
