"""Secrets of the user's code: variables in files that only their owner may read; in a pod, a mounted Secret.

Their values go into the environment of a step's and an endpoint's process and nowhere else: not into a log of ours, a
record, a command line, an id or the snapshot.
"""

import os
import stat
from pathlib import Path

from tidegate.models.errors import UserCodeError

MOUNTED = Path("/etc/tidegate/secrets")  # a folder per Secret, a file per variable


def read_secret(home: Path, name: str, option: str = "code.secrets") -> dict[str, str]:
    """The variables of a secret.

    Args:
        home: the home's folder; the secret is `secrets/NAME.env` in it.
        name: the secret's.
        option: that names it, for messages.

    Raises:
        UserCodeError: it is missing, others may read it, or a line is no NAME=VALUE; never quotes a value.
    """
    if (mounted := MOUNTED / name).is_dir():
        return {path.name: path.read_text("utf-8") for path in mounted.iterdir() if path.is_file()}
    path = home / "secrets" / f"{name}.env"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UserCodeError(
            f"{option}: {name}: {path} is not UTF-8; expected text of NAME=VALUE lines; write it as UTF-8"
        ) from None
    except OSError as error:
        raise UserCodeError(
            f"{option}: {name}: {path}: {error.strerror}; expected a file of NAME=VALUE lines with mode 0600; "
            f"write it, and chmod 600 it"
        ) from error
    require_private(path, mode, f"{option}: {name}")
    return dict(
        _variable(line, f"{option}: {path}:{number}")
        for number, line in enumerate(text.splitlines(), 1)
        if _counts(line)
    )


def require_private(path: Path, mode: int, where: str) -> None:
    """Raise UserCodeError for a secret's file that others than its owner may read."""
    if mode & 0o077:
        raise UserCodeError(
            f"{where}: {path} has mode {mode:04o}, so others may read it; expected 0600; chmod 600 it"
        )


def use_secrets(home: Path, names: tuple[str, ...]) -> None:
    """Put the variables of secrets into this process's environment.

    Raises:
        UserCodeError: see `read_secret`.
    """
    for name in names:
        os.environ.update(read_secret(home, name))


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _variable(line: str, where: str) -> tuple[str, str]:
    name, sign, value = line.strip().removeprefix("export ").partition("=")
    if not sign or not name.isidentifier():
        raise UserCodeError(f"{where} is no NAME=VALUE line; expected one; correct it")
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return name, value[1:-1] if quoted else value
