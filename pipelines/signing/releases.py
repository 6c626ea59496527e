"""The signature of a bundle: made when it is deployed, kept in the store, and laid out with the bundle."""

from contextlib import suppress
from pathlib import Path

from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import signing_key
from tidegate.pipelines.state.bundles import signature_key
from tidegate.pipelines.state.documents import replace
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import CHAIN, Bundle
from tidegate.serving.bundle.bundle_files import SIGNATURE
from tidegate.serving.bundle.manifest import bundle_digest
from tidegate.serving.bundle.signature import sign, verify
from tidegate.serving.bundle.trust import check_own_chain, signed_files, trusted_keys
from tidegate.serving.errors import BundleError


def sign_bundle(home: Home, bundle: Bundle) -> str:
    """Sign a bundle with the home's key, unless a trusted one has; return the key's id.

    Returns:
        "" where nothing is signed: the home has no key, as of a cluster, or the bundle no chain, as one of before.

    Raises:
        BundleError: its chain does not lead to it through parity and gate.
    """
    key = signing_key(home)
    if key is None or CHAIN not in bundle.manifest.files:
        return ""
    check_own_chain(bundle)
    digest, files = bundle_digest(bundle.manifest), signed_files(bundle)
    found = home.store.read(signature_key(digest))
    if found is not None:
        with suppress(BundleError):
            signer = verify(found[0], files, trusted_keys(trusted_folder(home)))
            _lay_out(bundle, found[0])
            return signer.id
    content = sign(bundle.manifest.name, files, key)
    # Where another run of the same content was faster, either signature will do.
    replace(home.store, signature_key(digest), content, found and found[1])
    _lay_out(bundle, content)
    return key.public.id


def accept_signature(home: Home, bundle: Bundle) -> str:
    """Lay out the signature that came with another target's bundle; return the id of the trusted key that made it.

    The home's own key never signs such a bundle: whoever may promote could have anything signed.

    Returns:
        "" where there is none, at a cluster that neither has a key nor trusts one.

    Raises:
        BundleError: it is missing, of no trusted key, or wrong, or the bundle's chain lacks parity or gate.
    """
    digest, known = bundle_digest(bundle.manifest), list(trusted_keys(trusted_folder(home)))
    found = home.store.read(signature_key(digest))
    if found is None:
        if home.target is None or known or signing_key(home) is not None:
            raise BundleError(
                f"bundle {digest[:12]} has no signature; expected one of a trusted key, which comes with it; promote "
                "again, or release it anew at the source"
            )
        return ""
    signer = verify(found[0], signed_files(bundle), known)
    check_own_chain(bundle)
    _lay_out(bundle, found[0])
    return signer.id


def _lay_out(bundle: Bundle, content: bytes) -> None:
    path: Path = bundle.folder / SIGNATURE
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)
