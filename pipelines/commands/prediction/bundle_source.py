"""The bundle that a command predicts with, without a server."""

from dataclasses import dataclass
from pathlib import Path

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.manifest import bundle_digest
from tidegate.serving.deployment.release import Release, load
from tidegate.serving.errors import BundleError


@dataclass(frozen=True)
class Source:
    """A bundle to predict with: its folder, its name, and the release, unless it is a folder's."""

    folder: Path
    name: str
    digest: str
    release: Release | None


def source_of(home: Home, name: str, number: int | None) -> Source:
    """The bundle of an endpoint's live release or of another one, or of a folder.

    Raises:
        UnknownNameError, ReleaseError, BundleError: there is no such endpoint or release, or none is live.
    """
    if (Path(name) / "bundle.json").is_file():
        if number is not None:
            raise UsageError(
                f"--release {number}: {name} is a bundle's folder; expected an endpoint; leave it out"
            )
        bundle = open_bundle(Path(name))
        return Source(bundle.folder, bundle.manifest.name, bundle_digest(bundle.manifest), None)
    require_endpoint(home, name)
    state = load(home.store, name)
    chosen = state.current if number is None else number
    if chosen is None:
        raise BundleError(f'endpoint "{name}" has no live release; expected one; submit its experiment')
    release = state.release(chosen)
    return Source(fetch_bundle(home, release.bundle), name, release.bundle, release)
