"""Secrets of who may ask: files of the home, for endpoints on this machine."""

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from tidegate.models.user_code.secrets import require_private
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.state.home import Home
from tidegate.serving.errors import ServerError
from tidegate.serving.http.tokens.settings import Jwt


def secrets_of(home: Home) -> Path:
    """The folder of a home's secrets."""
    return home.path / "secrets"


def check_issuers(home: Home, issuers: Sequence[Jwt], option: str) -> None:
    """Refuse issuers whose keys are a secret that is not there, or that others may read.

    Args:
        home: with the secrets.
        issuers: of an endpoint; those with keys at a URL are left alone.
        option: which names them, for the message.

    Raises:
        UsageError: a file cannot be read, or has no key that can be used.
        UserCodeError: its mode lets others read it.
    """
    for wanted in issuers:
        if wanted.secret:
            from tidegate.serving.http.tokens.key_set import KeySet
            from tidegate.serving.http.tokens.key_source import KeyFile

            path = secrets_of(home) / f"{wanted.secret}.jwks"
            keys = KeySet(KeyFile(path), [*wanted.algorithms])
            check_secret(path, f"{option}: {wanted.secret}", keys.load)


def check_secret(path: Path, where: str, read: Callable[[], object]) -> None:
    """Refuse a secret that `read` cannot read, or that others may; raises UsageError, UserCodeError."""
    try:
        read()
    except ServerError as error:
        raise UsageError(f"{where}: {error}, and `chmod 600` it") from error
    require_private(path, stat.S_IMODE(path.stat().st_mode), where)
