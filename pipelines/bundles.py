"""Bundles in the store: a document that lists files by digest, laid out as a folder where one is needed."""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

from infra.errors import ConflictError
from infra.store import Ref
from pipelines.errors import PipelineError
from pipelines.home import Home
from serving.bundle import bundle_digest, open_bundle


def keep_bundle(home: Home, folder: Path) -> str:
    """Put a bundle's files into the store; return the bundle's digest.

    Raises:
        BundleError: the folder is not a bundle.
    """
    digest = bundle_digest(open_bundle(folder).manifest)
    refs = [home.store.put(path).model_dump() for path in sorted(folder.iterdir())]
    with contextlib.suppress(ConflictError):  # the same content was kept before
        home.store.write(f"bundles/{digest}.json", json.dumps(refs).encode(), None)
    return digest


def fetch_bundle(home: Home, digest: str) -> Path:
    """The folder of a bundle, laid out from the store when it is not there yet, and checked.

    Raises:
        PipelineError: the store has no such bundle.
        InfraError, BundleError: a file of it is gone or was changed.
    """
    folder = home.bundles / digest
    if not folder.is_dir():
        _lay_out(home, digest, folder)
    return open_bundle(folder, digest).folder


def bundle_refs(home: Home, digest: str) -> list[Ref]:
    """The files of a bundle in the store; none when it is not known."""
    found = home.store.read(f"bundles/{digest}.json")
    return [Ref.model_validate(ref) for ref in json.loads(found[0])] if found else []


def _lay_out(home: Home, digest: str, folder: Path) -> None:
    refs = bundle_refs(home, digest)
    if not refs:
        raise PipelineError(f"the store has no bundle {digest[:12]}; submit the experiment again")
    building = Path(tempfile.mkdtemp(prefix=f".{digest[:12]}-", dir=folder.parent))
    try:
        for ref in refs:
            shutil.copyfile(home.store.fetch(ref), building / ref.name)
        building.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process may have laid it out meanwhile
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
