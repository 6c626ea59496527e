"""A content-addressed copy of local data in a store, because a cluster's pods cannot read this machine's files.

`keep_source` puts the data into the target's store; what it returns replaces the path until `prepare` restores the
files.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from tidegate.infra.errors import StoreError
from tidegate.infra.store import Ref, Store
from tidegate.infra.system.files import translate_os_errors
from tidegate.models.data.sources import existing, source_files
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.planning.bucket_source import inside
from tidegate.pipelines.step_types.prepare import Kept, KeptFile

MAX_FILES = 50  # more files are packed into one zip: an object per file would be thousands of requests


def keep_source(store: Store, source: Path) -> Kept:
    """Put a data file, or a folder of them, into a store by content.

    Args:
        store: where it goes.
        source: an absolute path.

    Returns:
        The input of `lay_out_source`; `gc` finds its references in the documents that contain it.

    Raises:
        SourceError: it does not exist.
        StoreError: it cannot be read, or the store cannot be written.
    """
    path = existing(source)
    files = {file.relative_to(path.parent).as_posix(): file for file in source_files(path)}
    _check_names(files)
    if len(files) <= MAX_FILES:
        kept = tuple(KeptFile(path=name, ref=store.put(file)) for name, file in files.items())
        return Kept(name=path.name, files=kept)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as work:
        packed = Path(work) / f"{path.name}.zip"
        with translate_os_errors(StoreError, packed, "Packing the data into"):
            pack(files, packed)
        return Kept(name=path.name, packed=store.put(packed))


def lay_out_source(store: Store, kept: Kept, folder: Path) -> Path:
    """Restore in a folder what `keep_source` stored; return the path of the source there.

    Args:
        store: where it was put.
        kept: what `keep_source` returned.
        folder: owned by the caller; created if missing.

    Raises:
        InfraError: an object is gone or damaged, or the disk is full.
    """
    with translate_os_errors(StoreError, folder, "Laying out the data in"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in kept.files:
            target = inside(folder, file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(store.fetch(file.ref), target)
        if kept.packed is not None:
            unpack(store.fetch(kept.packed), folder)
    return inside(folder, kept.name)


def lay_out_file(store: Store, ref: Ref, folder: Path) -> Path:
    """A stored file under its own name, which readers that look at it need; callers must not write to it."""
    target = folder / Path(ref.name).name
    _link(store.fetch(ref), target)
    return target


def _check_names(files: dict[str, Path]) -> None:
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise PipelineError(
                f"the data has a file named {name!r}; expected a UTF-8 name; rename it"
            ) from error


def pack(files: Mapping[str, Path], packed: Path) -> None:
    """Write files into a zip: the same bytes for the same files, sorted, uncompressed, without times and owners."""
    with ZipFile(packed, "w", ZIP_STORED) as archive:
        for name in sorted(files):
            info = ZipInfo(name)
            info.file_size = files[name].stat().st_size
            with files[name].open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target)


def unpack(packed: Path, folder: Path) -> None:
    """Write the files of an archive that `pack` made into a folder; raises StoreError if it is none."""
    try:
        with ZipFile(packed) as archive:
            archive.extractall(folder)  # it keeps every name inside the folder
    except BadZipFile as error:
        raise StoreError(f"{packed} is not a zip of files: {error}; submit the experiment again") from error


def _link(kept: Path, target: Path) -> None:
    """Hard-link the store's file, or copy it if it is on another disk."""
    try:
        os.link(kept, target)
    except OSError:
        shutil.copyfile(kept, target)
