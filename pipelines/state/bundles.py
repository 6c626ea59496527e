"""Bundles in the store: a document that lists files by digest, laid out as a folder where one is needed.

`python -m tidegate.pipelines.state.bundles fetch DIGEST FOLDER` lays one out from the store of $TIDEGATE_STORE, every
digest checked, and the signature where $TIDEGATE_TRUSTED_KEYS names public keys; the init container of an endpoint's
pod runs it, and its server starts only after it succeeded.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tidegate.infra.cluster.pods.signing import CHECKED
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Ref, Store, open_store
from tidegate.models.user_code.code_folder import ENVIRONMENTS, read_code
from tidegate.pipelines.errors import PipelineError, UsageError, error_message
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import may_hold, open_bundle
from tidegate.serving.bundle.bundle_files import SIGNATURE, bundle_files
from tidegate.serving.bundle.manifest import bundle_digest

PACKAGES = "packages.zip"  # among a bundle's references, and not a file of it


def keep_bundle(home: Home, folder: Path, packages: Ref | None = None) -> str:
    """Put a bundle's files into the store; return the bundle's digest.

    Args:
        home: whose store it is.
        folder: of the bundle.
        packages: an archive of what the user's code in it needs installed, which a pod unpacks beside the bundle.

    Raises:
        BundleError: the folder is not a bundle.
    """
    digest = bundle_digest(open_bundle(folder).manifest)
    refs = [home.store.put(folder / name, name).model_dump() for name in bundle_files(folder)]
    if packages is not None:
        refs.append(packages.model_copy(update={"name": PACKAGES}).model_dump())
    with contextlib.suppress(ConflictError):  # the same content was kept before
        home.store.write(bundle_key(digest), json.dumps(refs).encode(), None)
    return digest


def fetch_bundle(home: Home, digest: str) -> Path:
    """The folder of a bundle, laid out from the store when it is not there yet, and checked.

    Raises:
        PipelineError: the store has no such bundle.
        InfraError, BundleError: a file of it is gone or was changed.
    """
    folder = home.bundles / digest
    if not folder.is_dir():
        _lay_out(home.store, digest, folder)
    return open_bundle(folder, digest).folder


def bundle_refs(store: Store, digest: str) -> list[Ref]:
    """The files of a bundle in the store; none when it is not known."""
    found = store.read(bundle_key(digest))
    return [Ref.model_validate(ref) for ref in json.loads(found[0])] if found else []


def packages_of(store: Store, digest: str) -> Ref | None:
    """The archive of what the code in a bundle needs installed; None where it has none."""
    return next((ref for ref in bundle_refs(store, digest) if ref.name == PACKAGES), None)


def bundle_key(digest: str) -> str:
    """The document of a bundle."""
    return f"bundles/{digest}.json"


def signature_key(digest: str) -> str:
    """The document of a bundle's signature."""
    return f"signatures/{digest}.json"


def _lay_out(store: Store, digest: str, folder: Path) -> None:
    refs = bundle_refs(store, digest)
    if not refs:
        raise PipelineError(
            f"the store has no bundle {digest[:12]}; expected one of a packaged run; submit the experiment again"
        )
    building = Path(tempfile.mkdtemp(prefix=f".{digest[:12]}-", dir=folder.parent))
    try:
        for ref in refs:
            if ref.name == PACKAGES:
                continue
            if not may_hold(ref.name):
                raise PipelineError(
                    f"bundle {digest[:12]} lists {ref.name!r}, which no bundle holds; submit again"
                )
            target = building / ref.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.fetch(ref), target)
        signature = store.read(signature_key(digest))
        if signature is not None:
            (building / SIGNATURE).write_bytes(signature[0])
        building.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process may have laid it out meanwhile
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Lay a bundle out; exit code 1 and one line on stderr when a part of it is missing or wrong.

    Args:
        argv: `fetch DIGEST FOLDER`; the process's own when None. A folder that is there already is only checked.
    """
    parser = argparse.ArgumentParser(prog="python -m tidegate.pipelines.state.bundles", description=__doc__)
    parser.add_argument("do", choices=["fetch"])
    parser.add_argument("digest", help="the bundle's digest")
    parser.add_argument("folder", type=Path, help="where it goes; its parent must be there")
    given = parser.parse_args(argv)
    try:
        _fetch(given.digest, given.folder)
    except Exception as error:
        print(error_message(error), file=sys.stderr)
        return 1
    return 0


def _unpack_packages(store: Store, digest: str, folder: Path) -> None:
    """What the user's code needs installed, to where `use_code` looks for it."""
    archive = packages_of(store, digest)
    code = open_bundle(folder).code
    if archive is not None and code is not None:
        environment = read_code(code).environment
        with zipfile.ZipFile(store.fetch(archive)) as packed:
            packed.extractall(folder.parent / ENVIRONMENTS / environment)


def _fetch(digest: str, folder: Path) -> None:
    address = os.environ.get("TIDEGATE_STORE")
    if not address:
        raise UsageError(
            "$TIDEGATE_STORE is not set; expected the store's address, such as s3://BUCKET/PREFIX; the ConfigMap "
            '"tidegate" of the namespace has it: `kubectl apply -k` the manifests'
        )
    store = open_store(address)
    if not folder.is_dir():
        _lay_out(store, digest, folder)
        _unpack_packages(store, digest, folder)
    bundle = open_bundle(folder)
    found = bundle_digest(bundle.manifest)
    if found != digest:
        raise PipelineError(
            f"{folder} holds bundle {found[:12]}, expected {digest[:12]}; submit the experiment again"
        )
    if trusted := os.environ.get(CHECKED):
        from tidegate.serving.bundle.trust import check_trusted  # a release without signature does without

        check_trusted(bundle, Path(trusted))


if __name__ == "__main__":
    sys.exit(main())
