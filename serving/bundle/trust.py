"""Whether a bundle may be served where signatures are asked for: `$TIDEGATE_TRUSTED_KEYS`, a folder of public keys."""

from collections.abc import Iterator
from pathlib import Path

from tidegate.serving.bundle.bundle import CHAIN, MANIFEST, MODEL, Bundle
from tidegate.serving.bundle.bundle_files import SIGNATURE, FileEntry
from tidegate.serving.bundle.chain import Chain, check_chain, read_chain
from tidegate.serving.bundle.signature import PublicKey, verify
from tidegate.serving.errors import BundleError

SUFFIX = ".pub"


def trusted_keys(folder: Path) -> Iterator[PublicKey]:
    """The public keys in a folder's `*.pub` files; raises BundleError for a file that is none."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            yield PublicKey(path.read_bytes())
        except (ValueError, OSError) as error:
            raise BundleError(
                f"{path} is no public key: {error}; expected the PEM of an elliptic key on P-256; remove the file"
            ) from error


def check_trusted(bundle: Bundle, folder: Path) -> PublicKey:
    """Refuse a bundle that no trusted key has signed, or whose chain lacks parity or gate; return the key.

    Raises:
        BundleError: it says what is wrong.
    """
    path = bundle.folder / SIGNATURE
    if not path.is_file():
        raise BundleError(
            f"bundle {bundle.folder} has no signature, {SIGNATURE}; expected one of a trusted key; "
            "remove the folder, and it is restored from the store, or submit the experiment again"
        )
    key = verify(path.read_bytes(), signed_files(bundle), trusted_keys(folder))
    check_own_chain(bundle)
    return key


def signed_files(bundle: Bundle) -> dict[str, str]:
    """SHA-256 (hex) of every file that a signature covers: the manifest, and the files that `open_bundle` checked."""
    listed = {name: entry.digest for name, entry in bundle.manifest.files.items()}
    return {**listed, MANIFEST: FileEntry.of(bundle.folder / MANIFEST).digest}


def check_own_chain(bundle: Bundle) -> Chain:
    """The chain of a bundle; raises BundleError when it has none, or one that does not lead to it."""
    if CHAIN not in bundle.manifest.files:
        raise BundleError(
            f"bundle {bundle.folder} has no {CHAIN}; expected one with parity and gate; submit the experiment again"
        )
    chain = read_chain((bundle.folder / CHAIN).read_bytes())
    check_chain(chain, bundle.manifest, bundle.manifest.files[MODEL[bundle.manifest.runtime]].digest)
    return chain
