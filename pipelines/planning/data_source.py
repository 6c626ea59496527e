"""Where an experiment's data comes from: this machine, S3, or a copy by content in a store.

A cluster's pod sees nothing of this machine: `keep_source` puts the data into the target's store, and the plain
values it returns stand in place of the path until `prepare` lays the data out again.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from tidegate.infra.errors import StoreError
from tidegate.infra.store import Ref, Store
from tidegate.infra.system.files import translate_os_errors
from tidegate.models.data.sources import (
    bytes_in_memory,
    check_format,
    existing,
    file_sizes,
    guess_format,
    source_digest,
    source_files,
)
from tidegate.pipelines.errors import ExperimentError, PipelineError
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.planning import s3_source as s3_data

MOST_FILES = 50  # of more, one file is made: an object each would be thousands of requests


def check_source(data: Data, endpoint: str | None = None) -> None:
    """Refuse a source that no reader could read; S3 is asked only when the name does not tell the format.

    Args:
        data: its paths absolute.
        endpoint: of S3; default: where boto3 and $TIDEGATE_S3_ENDPOINT say.

    Raises:
        ExperimentError, ModelsError: naming what was received and what was expected.
    """
    if data.format is not None:
        check_format(data.format)
    else:
        format_of(data, endpoint)


def format_of(data: Data, endpoint: str | None = None) -> str | None:
    """The format that is stated, or told by the source; None of a built-in, which has none.

    Raises:
        ExperimentError, ModelsError, StoreError: it tells none, or is not there.
    """
    if data.format is not None or data.source is None:
        return data.format
    if _in_s3(data.source):
        return s3_data.format_of(data.source, endpoint)
    return guess_format(existing(data.source))


def digest_of_data(data: Data, endpoint: str | None = None) -> str:
    """SHA-256 (hex) that stands for the content of the data; S3 is only listed.

    Raises:
        ExperimentError, ModelsError, StoreError: it is not there, or can not be read.
    """
    if data.source is not None and _in_s3(data.source):
        return s3_data.digest(data.source, endpoint)
    return source_digest(dataset=data.dataset, source=Path(data.source) if data.source else None)


def bytes_of_data(data: Data, endpoint: str | None = None) -> int:
    """About how many bytes the rows take in memory; 0 of a built-in, which fits.

    Raises:
        ExperimentError, ModelsError, StoreError: as `digest_of_data`.
    """
    if data.source is None:
        return 0
    told = format_of(data, endpoint)
    assert told is not None
    if _in_s3(data.source):
        return bytes_in_memory(s3_data.sizes(data.source, endpoint), told)
    return bytes_in_memory(file_sizes(existing(data.source)), told)


def source_here(
    source: str | dict[str, Any] | None, store: Store, work: Path, expected: str | None = None
) -> Path | None:
    """The source as a path of this machine, copied into a folder unless it is here already.

    Args:
        source: a path, s3://..., what `keep_source` returned, or None.
        store: where `keep_source` put it.
        work: a folder of the caller's own.
        expected: digest of the data that the plan saw; what is in S3 must still have it.
    """
    if isinstance(source, dict):
        return lay_out_source(store, source, work)
    if source is not None and _in_s3(source):
        return s3_data.fetch(source, work, expected)
    return Path(source) if source else None


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
        with translate_os_errors(StoreError, packed, "Packing the data into"):
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
    with translate_os_errors(StoreError, folder, "Laying out the data in"):
        folder.mkdir(parents=True, exist_ok=True)
        for entry in document.get("files", ()):
            target = s3_data.inside(folder, entry["path"])
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(store.fetch(Ref.model_validate(entry["ref"])), target)
        if "packed" in document:
            _unpack(store.fetch(Ref.model_validate(document["packed"])), folder)
    return s3_data.inside(folder, document["name"])


def _in_s3(source: str) -> bool:
    if source.startswith(s3_data.SCHEME):
        return True
    if "://" in source:
        raise ExperimentError(
            f"data.source: {source}: expected a file or folder of this machine, or s3://BUCKET/KEY; "
            "copy the data here and give its path"
        )
    return False


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
