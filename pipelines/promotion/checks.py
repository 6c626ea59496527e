"""What a target may lack for a release of another one: refused before anything is copied."""

from tidegate.infra.cluster.capacity import amount, images_on, quota_lines
from tidegate.infra.cluster.endpoint_pod import CPU_REQUEST
from tidegate.infra.cluster.images import image
from tidegate.infra.errors import ForbiddenError
from tidegate.models.errors import UserCodeError
from tidegate.models.user_code.secrets import read_secret
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.planning.project.environment import environment_folder
from tidegate.pipelines.promotion.carrying import environment_of
from tidegate.pipelines.promotion.places import End
from tidegate.pipelines.promotion.putting_live import serving_there
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import current, trusted
from tidegate.pipelines.state.bundles import packages_of, signature_key
from tidegate.pipelines.state.targets import Target
from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.bundle.signature import verify
from tidegate.serving.bundle.trust import SUFFIX, check_own_chain, signed_files
from tidegate.serving.deployment.release import Release, load
from tidegate.serving.errors import BundleError


def check_target(source: End, target: End, release: Release, bundle: Bundle) -> str:
    """Refuse what the target could not serve; return the id of the key whose signature it trusts, "" for none.

    Args:
        source: where the release is.
        target: where it goes.
        release: as it stands at the source.
        bundle: of the release, opened.

    Raises:
        UsageError: it names what is missing, and what to do.
    """
    if bundle.probes is None:
        raise UsageError(
            f"release {release.number} of {release.endpoint} has no golden rows: an earlier version packaged it; "
            "expected some, by which a target proves it; submit its experiment again"
        )
    state = load(target.home.store, release.endpoint)
    hosting(target.home).check(state, serving_there(release, target.home))
    if target.home.target is None:
        _check_home(source, target, release, bundle)
    else:
        _check_cluster(target, target.home.target, release)
    return _check_signature(source, target, release, bundle)


def secrets_of(release: Release) -> list[str]:
    """Names of the Secrets that a release's pods mount, each once."""
    serving = Serving.model_validate(release.serving)
    key_sets = [wanted.secret for wanted in serving.jwt]
    return list(dict.fromkeys(filter(None, [*release.secrets, serving.keys, *key_sets])))


def _check_home(source: End, target: End, release: Release, bundle: Bundle) -> None:
    try:
        for name in release.secrets:
            read_secret(target.home.path, name)
    except UserCodeError as error:
        raise UsageError(str(error)) from error
    environment = environment_of(bundle)
    there = [environment_folder(end.home, environment) for end in (source, target)]
    found = any(folder.is_dir() for folder in there)
    if environment and not found and packages_of(source.home.store, release.bundle) is None:
        raise UsageError(
            f"the packages that the code of release {release.number} needs are not in {there[0]}, nor in {there[1]}; "
            f"expected them in one of the two; submit its experiment again at {source.name}, which installs them"
        )


def _check_cluster(target: End, found: Target, release: Release) -> None:
    """What a user may not look at is left to the pods, which say it then."""
    cluster = target.home.cluster
    try:
        _, full = quota_lines(cluster.list("ResourceQuota"))
    except ForbiddenError:
        full = []
    if full:
        raise UsageError(
            f"the quota of namespace {found.namespace} is used up ({', '.join(full)}); expected room for another "
            "release beside the live one; wait until something ends, or have the ResourceQuota raised"
        )
    try:
        nodes = cluster.list("Node")
    except ForbiddenError:
        return
    missing = {image(found.images, name) for name in ("driver", f"serve-{release.runtime}")} - images_on(
        nodes
    )
    if missing and found.images.startswith("localhost/"):
        raise UsageError(
            f"no node of {target.name} has {', '.join(sorted(missing))}, and no registry does; expected the images of "
            "this version; build them: make images, on the testbed make cluster-images"
        )
    asked = serving_there(release, target.home).resources
    offered = [node["status"].get("allocatable", {}) for node in nodes]
    if offered and not any(
        float(amount(one.get("cpu", "0"))) >= asked.cpu * CPU_REQUEST
        and amount(one.get("memory", "0")) >= amount(asked.memory)
        for one in offered
    ):
        raise UsageError(
            f"serving.resources of release {release.number} are {asked.cpu:g} cores and {asked.memory}, and no node of "
            f"{target.name} has that much; expected one that has; add a larger node, or submit the experiment with less"
        )


def _check_signature(source: End, target: End, release: Release, bundle: Bundle) -> str:
    known = [key for key, _ in trusted(target.home).values()]
    found = source.home.store.read(signature_key(release.bundle))
    if found is None or not release.signed_by:
        if known or target.home.target is None or current(target.home) is not None:
            raise UsageError(
                f"release {release.number} of {release.endpoint} at {source.name} is not signed, and {target.name} "
                f"takes only what a trusted key has signed; expected a signature; `tidegate signing rotate "
                f"{source.options}` makes a key there, then release it again"
            )
        return ""
    try:
        check_own_chain(bundle)
        return verify(found[0], signed_files(bundle), known).id
    except BundleError as error:
        raise UsageError(
            f"release {release.number} of {release.endpoint} cannot go from {source.name} to {target.name}: "
            f"{_with_commands(str(error), source, target, release.signed_by)}"
        ) from error


def is_trusted(target: End, signature: bytes, bundle: Bundle) -> bool:
    """Whether a signature of the bundle is one that the target trusts."""
    try:
        verify(signature, signed_files(bundle), [key for key, _ in trusted(target.home).values()])
    except BundleError:
        return False
    return True


def _with_commands(error: str, source: End, target: End, key: str) -> str:
    """The error, with the whole command in place of its beginning."""
    trusted(source.home)  # lays out the files of a cluster's keys
    file = trusted_folder(source.home) / f"{key}{SUFFIX}"
    return error.replace("`tidegate signing trust FILE`", f"`tidegate signing trust {file} {target.options}`")
