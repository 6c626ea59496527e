"""A copy by content, in a store, of data that lies on this machine: a cluster's pod sees nothing of this machine.

`keep_source` puts the data into the target's store; the plain values it returns stand in place of the path until
`prepare` lays the data out again.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from tidegate.infra.errors import StoreError
from tidegate.infra.store import Ref, Store
from tidegate.infra.system.files import in_words
from tidegate.models.data.sources import existing, source_files
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.planning.s3_source import inside

MOST_FILES = 50  # of more, one file is made: an object each would be thousands of requests


def keep_source(store: Store, source: Path) -> dict[str, Any]:
    """Put a data file, or a folder of them, into a store by content.

    Args:
        store: where it goes.
        source: an absolute path.

    Returns:
        Plain values for `lay_out_source`: the source's name and a reference for each file, or, of many, one for a zip
        of all. `gc` finds the references in the documents that hold them.

    Raises:
        SourceError: it is not there.
        StoreError: it can not be read, or the store can not be written.
    """
    path = existing(source)
    files = {file.relative_to(path.parent).as_posix(): file for file in source_files(path)}
    _check_names(files)
    if len(files) <= MOST_FILES:
        kept = [{"path": name, "ref": store.put(file).model_dump()} for name, file in files.items()]
        return {"name": path.name, "files": kept}
    with tempfile.TemporaryDirectory(prefix="tidegate-") as work:
        packed = Path(work) / f"{path.name}.zip"
        with in_words(StoreError, packed, "Packing the data into"):
            _pack(files, packed)
        return {"name": path.name, "packed": store.put(packed).model_dump()}


def lay_out_source(store: Store, document: dict[str, Any], folder: Path) -> Path:
    """Lay out in a folder what `keep_source` kept; return the path of the source there.

    Args:
        store: where it was put.
        document: what `keep_source` returned.
        folder: a folder of the caller's own, made when missing.

    Raises:
        InfraError: an object is gone or damaged, or the disk is full.
    """
    with in_words(StoreError, folder, "Laying out the data in"):
        folder.mkdir(parents=True, exist_ok=True)
        for entry in document.get("files", ()):
            target = inside(folder, entry["path"])
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(store.fetch(Ref.model_validate(entry["ref"])), target)
        if "packed" in document:
            _unpack(store.fetch(Ref.model_validate(document["packed"])), folder)
    return inside(folder, document["name"])


def _check_names(files: dict[str, Path]) -> None:
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise PipelineError(
                f"the data has a file whose name is not UTF-8: {name!r}; rename it"
            ) from error


def _pack(files: dict[str, Path], packed: Path) -> None:
    """The same bytes for the same files: sorted, uncompressed, without times and owners."""
    with ZipFile(packed, "w", ZIP_STORED) as archive:
        for name in sorted(files):
            info = ZipInfo(name)
            info.file_size = files[name].stat().st_size
            with files[name].open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target)


def _unpack(packed: Path, folder: Path) -> None:
    try:
        with ZipFile(packed) as archive:
            archive.extractall(folder)  # which lets no name lead out of the folder
    except BadZipFile as error:
        raise StoreError(f"{packed} is no zip of data: {error}. Submit the experiment again.") from error


def _link(kept: Path, target: Path) -> None:
    """The store's own file under another name, or a copy where the disk is another one."""
    try:
        os.link(kept, target)
    except OSError:
        shutil.copyfile(kept, target)
