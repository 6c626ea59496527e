"""Which files a bundle holds, and whether they are those that its manifest lists."""

import hashlib
import stat
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from tidegate.models.user_code.code_folder import FILES
from tidegate.serving.errors import BundleError

SIGNATURE = "model.sig"  # beside the manifest, which cannot list it: it signs the manifest too


class FileEntry(BaseModel):
    """One file: its sha256 (hex) and its size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    size: int

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """The entry of a file as it is."""
        with path.open("rb") as file:
            return cls(digest=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def bundle_files(folder: Path) -> list[str]:
    """The names of a bundle's files but its signature, relative to it, with `/`; links and empty folders too."""
    names = []
    for path in folder.rglob("*") if (folder / FILES).is_dir() else folder.iterdir():
        inside = path.is_dir() and not path.is_symlink() and path.relative_to(folder).parts[0] == FILES
        if not inside or not any(path.iterdir()):
            names.append(path.relative_to(folder).as_posix())
    return sorted(name for name in names if name != SIGNATURE)


def is_code(name: str) -> bool:
    """Whether a name, relative to a bundle, is that of a file of the user's code."""
    parts = PurePosixPath(name).parts
    return name == "/".join(parts) and parts[0] == FILES and len(parts) > 1 and ".." not in parts


def check_files(
    folder: Path, listed: Mapping[str, FileEntry], needed: Collection[str], manifest: str
) -> None:
    """Compare a bundle's files with those of its manifest.

    Args:
        folder: of the bundle.
        listed: the manifest's entries by name.
        needed: names that a bundle must have.
        manifest: the name of the manifest, which lists itself not.

    Raises:
        BundleError: a file is missing, extra, changed, a link or not a file.
    """
    found = set(bundle_files(folder)) - {manifest}
    for name in sorted({*needed, *listed, *found}):
        _check(folder, name, listed.get(name), name in found)


def _check(folder: Path, name: str, entry: FileEntry | None, found: bool) -> None:
    fix = "the bundle was damaged or tampered with: build it again"
    if entry is None:
        raise BundleError(f"bundle {folder} holds {name!r}, which its manifest does not list; {fix}")
    if not found:
        raise BundleError(f"bundle {folder} lacks {name!r}, which its manifest lists; {fix}")
    if not stat.S_ISREG((folder / name).lstat().st_mode):
        raise BundleError(
            f"{name!r} in bundle {folder} is a link or not a file; expected a plain file; {fix}"
        )
    actual = FileEntry.of(folder / name)
    if actual != entry:
        raise BundleError(
            f"{name!r} in bundle {folder} has changed: its sha256 is {actual.digest}; "
            f"expected {entry.digest}; {fix}"
        )
