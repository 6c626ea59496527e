"""The keys of a cluster: the private one in a Secret of the namespace, the public ones in a ConfigMap.

Only a run's driver mounts the Secret, and nobody reads it from the API. Who rotates must be allowed to write Secrets.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate.infra.cluster.pods.signing import KEY_FOLDER, PRIVATE, SECRET, TRUSTED
from tidegate.infra.errors import AlreadyExistsError, ClusterError
from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.signature import PrivateKey, PublicKey
from tidegate.serving.bundle.trust import SUFFIX

SIGNS = "tidegate.dev/signs"  # an annotation of the ConfigMap: the id of the key that signs
SINCE = "tidegate.dev/since-"  # and a key's id: from when on it is trusted
Object = dict[str, Any]


def mounted_key() -> PrivateKey | None:
    """The key that signs, in a driver's pod; None where the cluster has none, or outside of one.

    Raises:
        PipelineError: it is no key.
    """
    path = Path(KEY_FOLDER) / PRIVATE
    if not path.is_file():
        return None
    try:
        return PrivateKey(path.read_bytes())
    except ValueError as error:
        raise PipelineError(
            f"the Secret {SECRET} holds no private key: {error}; expected the PEM of an elliptic key on P-256; "
            "`tidegate signing rotate --target NAME` makes a new one"
        ) from error


def rotate(home: Home) -> tuple[PublicKey, PublicKey | None]:
    """Make a new key that signs from now on; the former one stays trusted. Return the new one and the former.

    Raises:
        ClusterError: this user may not write the Secret or the ConfigMap; the former key signs on.
    """
    before, made = current(home), PrivateKey.new()
    trust(home, made.public)  # first: what is signed from now on must be trusted everywhere
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "type": "Opaque",
        "stringData": {PRIVATE: made.pem.decode()},
    }
    try:
        home.cluster.apply(secret)
    except ClusterError:
        distrust(home, made.public)
        raise
    _patch(home, {"metadata": {"annotations": {SIGNS: made.public.id}}})
    return made.public, before


def current(home: Home) -> PublicKey | None:
    """The public half of the key that signs; None before the first rotation."""
    found = _found(home)
    signs = _annotations(found).get(SIGNS, "")
    return next((key for key in _keys_in(found) if key.id == signs), None)


def trusted(home: Home) -> dict[str, tuple[PublicKey, str]]:
    """The trusted keys by id, with the time from which each was (UTC, to the second; "" where it is not known).

    They are laid out in the home's folder too, for whatever checks with files.
    """
    found = _found(home)
    keys = _keys_in(found)
    folder = trusted_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name not in {f"{key.id}{SUFFIX}" for key in keys}:
            path.unlink()
    for key in keys:
        write_atomic(folder / f"{key.id}{SUFFIX}", key.pem)
    since = _annotations(found)
    return {key.id: (key, since.get(f"{SINCE}{key.id}", "")) for key in keys}


def trust(home: Home, key: PublicKey) -> None:
    """Trust a public key; raises ClusterError."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    metadata: Object = {"annotations": {f"{SINCE}{key.id}": now}}
    data = {f"{key.id}{SUFFIX}": key.pem.decode()}
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    try:
        home.cluster.create({**kind, "metadata": {"name": TRUSTED, **metadata}, "data": data})
    except AlreadyExistsError:
        _patch(home, {"metadata": metadata, "data": data})


def distrust(home: Home, key: PublicKey) -> None:
    """Trust a key no more; raises ClusterError."""
    names = [name for name, text in (_found(home).get("data") or {}).items() if _is(name, text, key)]
    gone: Object = {"metadata": {"annotations": {f"{SINCE}{key.id}": None}}, "data": dict.fromkeys(names)}
    _patch(home, gone)


def _is(name: str, text: str, key: PublicKey) -> bool:
    return name.endswith(SUFFIX) and _public(name, text).id == key.id


def _keys_in(found: Object) -> list[PublicKey]:
    return [_public(name, text) for name, text in (found.get("data") or {}).items() if name.endswith(SUFFIX)]


def _public(name: str, text: str) -> PublicKey:
    try:
        return PublicKey(text.encode())
    except ValueError as error:
        raise PipelineError(
            f"{name} of ConfigMap {TRUSTED} is no public key: {error}; expected the PEM of an elliptic key on P-256; "
            "remove the entry"
        ) from error


def _found(home: Home) -> Object:
    return home.cluster.get("ConfigMap", TRUSTED) or {}


def _annotations(found: Object) -> dict[str, str]:
    known: dict[str, str] = found.get("metadata", {}).get("annotations") or {}
    return known


def _patch(home: Home, change: Object) -> None:
    home.cluster.patch("ConfigMap", TRUSTED, change)
