"""A project's requirements, pinned with hashes: what they add to the packages that are installed here.

What a lock holds is resolved once for a file's content and these packages, and kept in the home. A package of ours is
never changed: a requirement that would do so is refused.
"""

import hashlib
import json
import re
import tempfile
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path

from tidegate.infra.system.files import read_json, write_atomic
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.planning.project.installer import planned
from tidegate.pipelines.planning.project.parts import Lock, Pin
from tidegate.pipelines.planning.project.requirements_file import read_requirements
from tidegate.pipelines.state.home import Home


def lock_of(file: Path, home: Home) -> Lock:
    """The lock of a requirements.txt, a pyproject.toml or a uv.lock.

    Raises:
        ExperimentError: it cannot be read or met, or would change a package that is installed; names both versions.
    """
    wanted, ours = read_requirements(file), _installed()
    key = hashlib.sha256(json.dumps([wanted.lines, sorted(ours.items())]).encode()).hexdigest()
    kept = home.path / "locks" / f"{key}.json"
    known = read_json(kept)
    if known is not None:
        return Lock(tuple(Pin(one["name"], one["version"], tuple(one["hashes"])) for one in known))
    with tempfile.TemporaryDirectory(prefix="tidegate-") as work:
        pins = planned(wanted.written(Path(work)), wanted.options)
    _require_ours_kept(pins, ours, file)
    lock = Lock(tuple(sorted(pins, key=lambda pin: pin.name)))
    write_atomic(kept, json.dumps([asdict(pin) for pin in lock.pins]).encode())
    return lock


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
