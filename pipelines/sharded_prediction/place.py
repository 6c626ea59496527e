"""Where a batch prediction is written: a folder of this machine, or a bucket's prefix. Names are relative to it."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Protocol

from tidegate.infra.store import BUCKETS, Bucket, open_bucket
from tidegate.infra.system.files import publish, temporary
from tidegate.pipelines.errors import UsageError, writing_into

STATE = "_batch"  # the folder below it that is no output
HIDDEN = ".tmp-"  # a file that is being written


class OutputPlace(Protocol):
    """A place of files. Every file appears whole or not at all."""

    url: str

    def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is none."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file that is not there yet; False if it is there with another content."""

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of any size to there."""

    def sizes(self, below: str = "") -> dict[str, int]:
        """The bytes of each file whose name begins so."""

    def delete(self, name: str) -> None:
        """Delete a file; a missing one is no error."""


class FolderPlace:
    """A folder, which is made if its parent is there."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                f"--output {folder} is a file; expected a folder, as --shards writes several files"
            )
        if not folder.parent.is_dir():
            raise UsageError(
                f"--output {folder}: there is no folder {folder.parent}; expected an existing one; make it first"
            )
        self.url, self._folder = str(folder), folder

    def read(self, name: str) -> bytes | None:
        """See OutputPlace."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, content: bytes) -> bool:
        """See OutputPlace."""
        path = self._folder / name
        with writing_into(self._folder):
            temp = temporary(path.parent)
            try:
                with temp.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(temp, path)
            finally:
                temp.unlink(missing_ok=True)
        return self.read(name) == content

    def upload(self, path: Path, name: str) -> None:
        """See OutputPlace."""
        with writing_into(self._folder):
            temp = temporary(self._folder / STATE)
            try:
                shutil.copyfile(path, temp)
                with temp.open("rb") as file:
                    os.fsync(file.fileno())
                publish(temp, self._folder / name)
            finally:
                temp.unlink(missing_ok=True)

    def sizes(self, below: str = "") -> dict[str, int]:
        """See OutputPlace; what is being written is left out."""
        files = (path for path in self._folder.rglob("*") if not path.name.startswith(HIDDEN))
        found = {path.relative_to(self._folder).as_posix(): path for path in files if path.is_file()}
        return {name: path.stat().st_size for name, path in sorted(found.items()) if name.startswith(below)}

    def delete(self, name: str) -> None:
        """See OutputPlace."""
        (self._folder / name).unlink(missing_ok=True)


class BucketPlace:
    """A prefix of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.url, self._bucket = bucket.url, bucket

    def read(self, name: str) -> bytes | None:
        """See OutputPlace."""
        found = self._bucket.get(name)
        return None if found is None else found[0]

    def create(self, name: str, content: bytes) -> bool:
        """See OutputPlace; the server sees to it that only one of several writers is the first."""
        written = self._bucket.put(name, content, None, {})
        return written.etag is not None or self.read(name) == content

    def upload(self, path: Path, name: str) -> None:
        """See OutputPlace."""
        with path.open("rb") as file:
            self._bucket.upload(file, name)

    def sizes(self, below: str = "") -> dict[str, int]:
        """See OutputPlace."""
        return {found.key: found.size for found in self._bucket.list_objects(below)}

    def delete(self, name: str) -> None:
        """See OutputPlace."""
        self._bucket.delete(name)


def open_place(url: str, endpoint: str | None = None) -> OutputPlace:
    """The place of a path or URL.

    Args:
        url: a folder, or s3://BUCKET/PREFIX, gs://…, az://….
        endpoint: of a bucket, the server; None: as its library finds it.

    Raises:
        UsageError, StoreError: it cannot be one.
    """
    scheme, mark, address = url.partition("://")
    if not mark:
        return FolderPlace(Path(url).absolute())
    if scheme not in BUCKETS or not address.strip("/").partition("/")[2]:
        forms = ", ".join(f"{name}://BUCKET/PREFIX" for name in BUCKETS)
        raise UsageError(f"--output {url}: expected a folder or one of {forms}; correct it")
    return BucketPlace(open_bucket(url.rstrip("/"), endpoint))
