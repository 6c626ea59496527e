"""The keys of a home: one signs its releases, and any that is trusted may have signed what it serves.

`HOME/keys/signing.pem` is private (mode 0600) and made at first use; `HOME/keys/trusted/ID.pub` are public.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import translate_os_errors, write_atomic
from tidegate.infra.system.locks import lock
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.signing import cluster_keys
from tidegate.pipelines.signing.folders import PRIVATE, TRUSTED, keys_folder, trusted_folder
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.signature import PrivateKey, PublicKey
from tidegate.serving.bundle.trust import SUFFIX, trusted_keys


def signing_key(home: Home) -> PrivateKey | None:
    """The key that signs; a home on this machine gets one at first use. None: nothing is signed from here.

    The key of a cluster is there for the drivers of its runs alone.

    Raises:
        UsageError: the file is no key, or others may read it.
        InfraError: it cannot be written.
    """
    path = keys_folder(home) / PRIVATE
    if home.target is not None:
        return cluster_keys.mounted_key()
    with _kept(home):
        if not path.exists():
            _make(home)
        key = _read(path)
        _trust(home, key.public)
        return key


def rotate(home: Home) -> tuple[PublicKey, PublicKey | None]:
    """Make a new key that signs from now on; the former one stays trusted. Return the new one and the former."""
    if home.target is not None:
        return cluster_keys.rotate(home)
    with _kept(home):
        path = keys_folder(home) / PRIVATE
        before = _read(path).public if path.exists() else None
        if before is not None:
            _trust(home, before)
        made = _make(home)
        _trust(home, made.public)
        return made.public, before


def current(home: Home) -> PublicKey | None:
    """The public half of the key that signs; None before the first use."""
    if home.target is not None:
        return cluster_keys.current(home)
    path = keys_folder(home) / PRIVATE
    return _read(path).public if path.exists() else None


def trusted(home: Home) -> dict[str, tuple[PublicKey, str]]:
    """The trusted keys by id, with the time from which each was (UTC, to the second)."""
    if home.target is not None:
        return cluster_keys.trusted(home)
    folder, found = trusted_folder(home), {}
    for key in trusted_keys(folder):
        path = folder / f"{key.id}{SUFFIX}"
        since = path.stat().st_mtime if path.exists() else 0.0
        found[key.id] = (key, datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S"))
    return found


def trust(home: Home, file: Path) -> PublicKey:
    """Trust the public key in a PEM file.

    Raises:
        UsageError: the file is no such key; a private one is refused.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}; expected a public key's PEM file"
        ) from error
    if b"PRIVATE KEY" in content:
        raise UsageError(
            f"{file} is a private key; expected the public one; keep the private one to yourself"
        )
    try:
        key = PublicKey(content)
    except ValueError as error:
        raise UsageError(
            f"{file} is no public key: {error}; expected the PEM of an elliptic key on P-256, as in "
            f"HOME/keys/{TRUSTED}/ID{SUFFIX}"
        ) from error
    if home.target is not None:
        cluster_keys.trust(home, key)
        return key
    with _kept(home):
        _trust(home, key)
    return key


def distrust(home: Home, key: str) -> PublicKey:
    """Trust a key no more: what it has signed does not start again.

    Raises:
        UnknownNameError: no trusted key has this id.
        UsageError: it is the one that signs.
    """
    with _kept(home):
        known = trusted(home)
        if key not in known:
            raise UnknownNameError("trusted key", key, known, "`tidegate signing list` lists them")
        signs = current(home)
        if signs is not None and signs.id == key:
            raise UsageError(
                f"key {key} is the one that signs; expected another; `tidegate signing rotate` first"
            )
        if home.target is not None:
            cluster_keys.distrust(home, known[key][0])
            return known[key][0]
        for path in trusted_folder(home).glob(f"*{SUFFIX}"):  # one that was put there may have any name
            if PublicKey(path.read_bytes()).id == key:
                path.unlink()
        return known[key][0]


@contextmanager
def _kept(home: Home) -> Iterator[None]:
    """One change of the keys at a time."""
    folder = keys_folder(home)
    with translate_os_errors(InfraError, folder, "Writing"):
        folder.mkdir(mode=0o700, exist_ok=True)
        trusted_folder(home).mkdir(mode=0o755, exist_ok=True)
    with lock(folder / "keys.lock", timeout=30):
        yield


def _make(home: Home) -> PrivateKey:
    """A new key in place of the one that signs; nobody else can read the file at any moment."""
    key, path = PrivateKey.new(), keys_folder(home) / PRIVATE
    with translate_os_errors(InfraError, path, "Writing"):
        write_atomic(path, key.pem, mode=0o600)
    return key


def _read(path: Path) -> PrivateKey:
    with translate_os_errors(InfraError, path, "Reading"):
        mode, content = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    if mode & 0o077:
        raise UsageError(
            f"{path} has mode {mode:04o}, so others can read the key; expected 0600; `chmod 600 {path}`, "
            "and `tidegate signing rotate` if they may have"
        )
    try:
        return PrivateKey(content)
    except ValueError as error:
        raise UsageError(
            f"{path} is no private key: {error}; expected the PEM of an elliptic key on P-256; restore the file, or "
            "move it away, and a new one is made"
        ) from error


def _trust(home: Home, key: PublicKey) -> None:
    path = trusted_folder(home) / f"{key.id}{SUFFIX}"
    with translate_os_errors(InfraError, path, "Writing"):
        if not path.exists():
            write_atomic(path, key.pem)
