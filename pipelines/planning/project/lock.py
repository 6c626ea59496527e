"""A project's requirements, pinned with hashes: what they add to the packages that are installed here.

What a lock holds is resolved once for a file's content and these packages, and kept in the home. A package of ours is
never changed: a requirement that would do so is refused.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path

from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.planning.project.installer import Pin, planned
from tidegate.pipelines.state.home import Home, read_json

OPTIONS = (
    "--index-url",
    "-i ",
    "--extra-index-url",
    "--find-links",
    "-f ",
    "--no-index",
    "--pre",
    "--trusted-host",
)
OWN = re.compile(r"(-e|--editable)?\s*\.(\[[^\]]*\])?/?")  # the project itself, which is importable anyway
LONG = {"-i": "--index-url", "-f": "--find-links"}


@dataclass(frozen=True)
class Lock:
    """What a project needs beside what is installed; none where everything is there.

    Attributes:
        pins: distributions with version and hashes, sorted by name.
    """

    pins: tuple[Pin, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the pins; "" without any."""
        text = json.dumps([asdict(pin) for pin in self.pins])
        return hashlib.sha256(text.encode()).hexdigest() if self.pins else ""

    @property
    def versions(self) -> dict[str, str]:
        """Version by name."""
        return {pin.name: pin.version for pin in self.pins}


def lock_of(file: Path, home: Home) -> Lock:
    """The lock of a requirements.txt, a pyproject.toml or a uv.lock.

    Raises:
        ExperimentError: it cannot be read or met, or would change a package that is installed; names both versions.
    """
    lines, ours = _lines(file), _installed()
    key = hashlib.sha256(json.dumps([lines, sorted(ours.items())]).encode()).hexdigest()
    kept = home.path / "locks" / f"{key}.json"
    known = read_json(kept)
    if known is not None:
        return Lock(tuple(Pin(one["name"], one["version"], tuple(one["hashes"])) for one in known))
    with tempfile.TemporaryDirectory(prefix="tidegate-") as work:
        path = Path(work) / "requirements.txt"
        path.write_text("\n".join([*lines, ""]), "utf-8")
        pins = planned(path, index_options(lines))
    _require_ours_kept(pins, ours, file)
    lock = Lock(tuple(sorted(pins, key=lambda pin: pin.name)))
    write_atomic(kept, json.dumps([asdict(pin) for pin in lock.pins]).encode())
    return lock


def index_options(lines: list[str]) -> list[str]:
    """The lines that say where packages come from."""
    return [line for line in lines if line.startswith(OPTIONS)]


def requirement_lines(file: Path) -> list[str]:
    """The requirements of a file as lines of a requirements.txt, its own includes put in, paths made absolute."""
    return _lines(file)


def _lines(file: Path) -> list[str]:
    try:
        if file.name == "uv.lock":
            return _exported(file)
        if file.suffix == ".toml":
            return _of_pyproject(file)
        return list(_of_text(file))
    except OSError as error:
        raise ExperimentError(
            f"code.requirements: {file} cannot be read: {error.strerror}; expected a requirements.txt, pyproject.toml "
            "or uv.lock; paths resolve against the experiment file"
        ) from error


def _of_text(file: Path) -> Iterator[str]:
    for line in file.read_text("utf-8").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        word, _, rest = text.partition(" ")
        word, _, given = word.partition("=") if word.startswith("--") and "=" in word else (word, "", rest)
        if not text or OWN.fullmatch(text):
            continue
        if word in ("-r", "--requirement", "-c", "--constraint"):
            yield from _of_text(file.parent / given.strip()) if word[:3] in ("-r", "--r") else ()
        elif word in ("-f", "--find-links", "-i", "--index-url"):
            place = given.strip()
            local = word in ("-f", "--find-links") and "://" not in place
            yield f"{LONG.get(word, word)} {(file.parent / place).resolve() if local else place}"
        else:
            yield text


def _of_pyproject(file: Path) -> list[str]:
    try:
        project = tomllib.loads(file.read_text("utf-8")).get("project")
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"code.requirements: {file}: not TOML: {error}; correct it") from error
    if not isinstance(project, dict):
        raise ExperimentError(
            f"code.requirements: {file} has no [project] table; expected its dependencies there; name a "
            "requirements.txt or a uv.lock instead"
        )
    return [str(one) for one in project.get("dependencies", [])]


def _exported(file: Path) -> list[str]:
    uv = shutil.which("uv")
    if uv is None:
        raise ExperimentError(f"code.requirements: {file} is read with uv, which is not here; pip install uv")
    argv = [
        uv,
        "export",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
        "--no-hashes",
        "--no-header",
        "--no-annotate",
    ]
    done = subprocess.run(argv, cwd=file.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        cause = " ".join(done.stderr.split())[:500]
        raise ExperimentError(
            f"code.requirements: {file} cannot be read: {cause}; run `uv lock` in its folder"
        )
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _installed() -> dict[str, str]:
    return {_plain(found.name): found.version for found in distributions() if found.name}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _require_ours_kept(pins: list[Pin], ours: dict[str, str], file: Path) -> None:
    changed = [pin for pin in pins if _plain(pin.name) in ours]
    if changed:
        shown = ", ".join(f"{one.name} {one.version} in place of {ours[_plain(one.name)]}" for one in changed)
        raise ExperimentError(
            f"code.requirements: {file} asks for {shown}, which is installed and which Tidegate runs with; expected "
            "requirements that it meets; widen them"
        )
    nameless = [pin.name for pin in pins if not pin.hashes]
    if nameless:
        raise ExperimentError(
            f"code.requirements: {', '.join(nameless)} of {file} has no digest; expected packages of an index, or "
            "wheels in a folder that --find-links names"
        )
