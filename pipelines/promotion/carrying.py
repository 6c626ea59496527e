"""A bundle goes from one store to another: its files first, then its signature, and last the document that lists them.

Whatever ends it in the middle, the other store shows no bundle that is not whole, and the same again goes on.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tidegate.infra.errors import CorruptObjectError
from tidegate.infra.store import Ref, Store
from tidegate.models.user_code.code_folder import ENVIRONMENTS, is_code_folder, read_code
from tidegate.pipelines.planning.project.environment import environment_files, environment_folder
from tidegate.pipelines.planning.project.served_packages import files_of, image_packages, lacking
from tidegate.pipelines.planning.project.snapshot import keep_archive, lay_out_snapshot
from tidegate.pipelines.state.bundles import PACKAGES, bundle_key, bundle_refs, packages_of, signature_key
from tidegate.pipelines.state.documents import replace
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.bundle.own_packages import own_packages


def carry(source: Home, target: Home, bundle: Bundle, digest: str, accepted: Callable[[bytes], bool]) -> int:
    """Copy a bundle, its signature, and the packages that its code needs.

    Args:
        source: from where.
        target: to where.
        bundle: opened at the source, so that all its digests are right.
        digest: of the bundle.
        accepted: whether the target trusts a signature of it.

    Returns:
        How many bytes were copied; 0 where the target has packaged the same content itself.

    Raises:
        StoreError: a file is gone or damaged, or one of the stores does not answer.
    """
    found = bundle_refs(source.store, digest)
    if _has_its_own(target.store, digest, found):
        return 0
    refs = [_carried(source.store, target.store, ref) for ref in found]
    if bundle.code is not None and all(ref.name != PACKAGES for ref in refs):
        packages = _packages(source, target, bundle)
        refs += [packages] if packages is not None else []
    signature = source.store.read(signature_key(digest))
    if signature is not None:
        replace(target.store, signature_key(digest), signature[0], stays=accepted)
    content = json.dumps([ref.model_dump() for ref in refs]).encode()
    replace(target.store, bundle_key(digest), content, stays=lambda found: found == content)
    return sum(ref.size for ref in refs)


def _has_its_own(store: Store, digest: str, ours: list[Ref]) -> bool:
    """Whether the target has packaged the same content itself, at another time: its own signature covers that."""
    theirs = bundle_refs(store, digest)
    files = [{ref.name: ref.digest for ref in refs if ref.name != PACKAGES} for refs in (theirs, ours)]
    return bool(theirs) and files[0] != files[1] and all(store.has(ref) for ref in theirs)


def environment_of(bundle: Bundle) -> str:
    """Digest of the lock whose packages the bundle's code needs; "" for none."""
    return (
        read_code(bundle.code).environment if bundle.code is not None and is_code_folder(bundle.code) else ""
    )


def _carried(source: Store, target: Store, ref: Ref) -> Ref:
    """The same file at the target: what arrives has the digest that it had."""
    path = source.fetch(ref)
    put = target.put(path, ref.name)
    if put != ref:
        raise CorruptObjectError(
            f"{ref.name} changed while it was copied: its sha256 is {put.digest[:12]}…; expected {ref.digest[:12]}…; "
            "do the same again"
        )
    return put


def _packages(source: Home, target: Home, bundle: Bundle) -> Ref | None:
    """An archive of what the code needs installed and lies in the source's home; for pods also what an image lacks."""
    files = environment_files(source, environment_of(bundle))
    if target.target is not None:
        there = image_packages(f"serve-{bundle.manifest.runtime}")
        files |= {
            name: path for one in lacking(list(own_packages(bundle)), there) for name, path in files_of(one)
        }
    return keep_archive(target.store, files, PACKAGES) if files else None


def lay_out_packages(home: Home, digest: str, bundle: Bundle) -> None:
    """Where a server of this machine looks for what the bundle's code needs; nothing where it is there."""
    environment = environment_of(bundle)
    folder = environment_folder(home, environment)
    archive = packages_of(home.store, digest) if environment and not folder.is_dir() else None
    if archive is None:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=home.path / ENVIRONMENTS)) / "packages"
    try:
        lay_out_snapshot(home.store, archive, building)
        building.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process may have laid it out meanwhile
            raise
    finally:
        shutil.rmtree(building.parent, ignore_errors=True)
