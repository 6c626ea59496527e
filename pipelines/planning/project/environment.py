"""The packages of a lock in a folder of the home, made once; whoever puts it on the import path sees ours and them."""

import shutil
import sys
import tempfile
from pathlib import Path

from tidegate.infra.store import Ref
from tidegate.infra.system.locks import lock as locked
from tidegate.models.user_code.code_folder import ENVIRONMENTS
from tidegate.pipelines.planning.kept_data import pack
from tidegate.pipelines.planning.project.installer import install
from tidegate.pipelines.planning.project.lock import Lock, index_options, requirement_lines
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
            install(lock.pins, index_options(requirement_lines(requirements)), building)
            building.rename(folder)
        finally:
            shutil.rmtree(building.parent, ignore_errors=True)


def pack_environment(home: Home, digest: str) -> Ref:
    """Put the packages of a lock into the store, as one archive by content.

    Raises:
        StoreError: the store cannot be written.
    """
    folder = environment_folder(home, digest)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    with tempfile.NamedTemporaryFile(prefix="tidegate-", suffix=".zip") as packed:
        pack({name: path for name, path in files.items() if "__pycache__" not in name}, Path(packed.name))
        return home.store.put(Path(packed.name), "packages.zip")
