"""The packages of a lock in a folder of the home, made once; whoever puts it on the import path sees ours and them."""

import shutil
import sys
import tempfile
from pathlib import Path

from tidegate.infra.system.locks import lock as locked
from tidegate.models.user_code.code_folder import ENVIRONMENTS
from tidegate.pipelines.planning.project.installer import install
from tidegate.pipelines.planning.project.parts import Lock
from tidegate.pipelines.planning.project.requirements_file import read_requirements
from tidegate.pipelines.state.home import Home


def environment_folder(home: Home, digest: str) -> Path:
    """Where the packages of a lock lie, or will."""
    return home.path / ENVIRONMENTS / digest


def make_environment(home: Home, lock: Lock, requirements: Path) -> None:
    """Install a lock's packages into the home, unless they are there.

    Args:
        home: whose `environments` they go to.
        lock: of `requirements`.
        requirements: the user's file, which says where packages come from.

    Raises:
        ExperimentError: one of them cannot be had any more.
    """
    folder = environment_folder(home, lock.digest)
    if not lock.pins or folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if folder.is_dir():
            return
        shown = ", ".join(f"{pin.name} {pin.version}" for pin in lock.pins[:5])
        more = f" and {len(lock.pins) - 5} more" if len(lock.pins) > 5 else ""
        print(f"installing what the project requires, once: {shown}{more}", file=sys.stderr, flush=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent)) / "packages"
        try:
            install(lock.pins, read_requirements(requirements).options, building)
            building.rename(folder)
        finally:
            shutil.rmtree(building.parent, ignore_errors=True)


def environment_files(home: Home, digest: str) -> dict[str, Path]:
    """The files of a lock's packages, by their path; none without a lock."""
    folder = environment_folder(home, digest)
    files = [path for path in folder.rglob("*") if path.is_file()] if digest else []
    return {path.relative_to(folder).as_posix(): path for path in files if "__pycache__" not in path.parts}
