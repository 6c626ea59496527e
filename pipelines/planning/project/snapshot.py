"""The snapshot of a project: its files in one archive, by content, from which steps and endpoints run."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tidegate.infra.errors import StoreError
from tidegate.infra.store import Ref, Store
from tidegate.infra.store.types import digest_of
from tidegate.infra.system.files import translate_os_errors
from tidegate.pipelines.errors import ExperimentError, PipelineError
from tidegate.pipelines.planning.kept_data import pack, unpack
from tidegate.pipelines.planning.project.listing import IGNORE, project_files

MOST_BYTES = 64 << 20
NAME = "code.zip"
SHOWN = 5  # of the largest files


def checked_files(folder: Path, leave_out: Sequence[Path] = ()) -> dict[str, Path]:
    """The project's files by their path in it, see `listing`, at most 64 MiB of them.

    Raises:
        ExperimentError: the folder does not exist, a link leads out of it, or it is larger; names the largest files.
    """
    files = project_files(folder, leave_out)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    total = sum(sizes.values())
    if total > MOST_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:SHOWN]
        shown = ", ".join(f"{name} ({sizes[name] / 2**20:.1f} MiB)" for name in largest)
        raise ExperimentError(
            f"code.path: the project {folder} has {total / 2**20:.1f} MiB in {len(files)} files; expected at most "
            f"{MOST_BYTES >> 20} MiB, because each run keeps a copy; the largest are {shown}; name those that the code "
            f"does not need in .gitignore or {IGNORE}, or set code.path to the folder that holds only code"
        )
    return files


def snapshot_of(files: Mapping[str, Path]) -> Ref:
    """The reference of the snapshot with these files; nothing is stored.

    Raises:
        StoreError: one of them cannot be read.
    """
    with tempfile.NamedTemporaryFile(prefix="tidegate-", suffix=".zip") as packed:
        return _packed(files, Path(packed.name))


def keep_snapshot(store: Store, files: Mapping[str, Path], expected: Ref) -> None:
    """Store the snapshot, if it is not there.

    Raises:
        PipelineError: a file was changed since the run was planned.
        StoreError: the store cannot be written.
    """
    if store.has(expected):
        return
    with tempfile.NamedTemporaryFile(prefix="tidegate-", suffix=".zip") as packed:
        if _packed(files, Path(packed.name)) != expected:
            raise PipelineError("the project was changed while the run was being planned; submit again")
        store.put(Path(packed.name), NAME)


def keep_archive(store: Store, files: Mapping[str, Path], name: str) -> Ref:
    """Put files into the store as one archive.

    Raises:
        StoreError: the store cannot be written.
    """
    with tempfile.NamedTemporaryFile(prefix="tidegate-", suffix=".zip") as packed:
        _packed(files, Path(packed.name))
        return store.put(Path(packed.name), name)


def lay_out_snapshot(store: Store, snapshot: Ref, folder: Path) -> None:
    """Write the files of an archive, such as the snapshot, into a folder.

    Raises:
        StoreError: it is gone or damaged, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with translate_os_errors(StoreError, folder, "Laying out the project in"):
        unpack(store.fetch(snapshot), folder)


def _packed(files: Mapping[str, Path], packed: Path) -> Ref:
    with translate_os_errors(StoreError, packed, "Packing the project into"):
        pack(files, packed)
        return Ref(digest=digest_of(packed), size=packed.stat().st_size, name=NAME)
