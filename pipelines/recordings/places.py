"""Where a home has its recorded requests, and the key that encrypts them; imports nothing heavy.

`HOME/recordings/ENDPOINT` has the segments; `HOME/keys/recording.key` (mode 0600) is made at first use.
"""

import contextlib
import os
import shutil
from pathlib import Path

from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import translate_os_errors
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.handover import RecordTo
from tidegate.serving.errors import RecordingError

KEY = "recording.key"


def folder_of(home: Home, endpoint: str) -> Path:
    """The segments of an endpoint; nothing is created."""
    return home.path / "recordings" / endpoint


def key_of(home: Home) -> Path:
    """The file of the key; it may not be there yet."""
    return home.path / "keys" / KEY


def record_to(home: Home, endpoint: str, serving: Serving) -> RecordTo | None:
    """What a server of an endpoint records, and where; None: nothing. The key is made where there is none."""
    if serving.record is None:
        return None
    make_key(home)
    return RecordTo(serving.record.model_dump_json(), folder_of(home, endpoint), key_of(home))


def make_key(home: Home) -> None:
    """Make the key, unless it is there; nobody else can read the file at any moment.

    Raises:
        RecordingError: it is lost, as there are rows that it encrypted.
        InfraError: it cannot be written.
    """
    from tidegate.serving.recording.cipher import (
        Cipher,
    )  # cryptography is imported where something is recorded only

    path = key_of(home)
    with translate_os_errors(InfraError, path, "Writing"):
        if path.exists():
            return
        _refuse_lost_key(home)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        draft = path.with_name(f".{path.name}-{os.getpid()}")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Cipher.new_key())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # somebody else has just made it
            path.hardlink_to(draft)
        draft.unlink()


def check_key(home: Home) -> None:
    """Refuse a key that is damaged, lost, or that others may read; raises RecordingError."""
    if key_of(home).exists():
        from tidegate.serving.recording.cipher import Cipher

        Cipher.read(key_of(home))
    else:
        _refuse_lost_key(home)


def _refuse_lost_key(home: Home) -> None:
    """With a new key nobody would ever notice that the rows of the lost one cannot be read any more."""
    for folder in sorted(home.path.glob("recordings/*")):
        if any(folder.glob("*.rec")) and not key_of(home).exists():  # somebody else has not just made it
            raise RecordingError(
                f"{key_of(home)} is gone, and {folder} has rows that it encrypted; expected the key; restore it, or "
                f"move {folder} away, and a new key is made"
            )


def remove_recordings(home: Home, endpoint: str) -> None:
    """Remove all that an endpoint recorded, also when somebody else deletes old rows meanwhile; raises InfraError."""
    folder = folder_of(home, endpoint)
    with translate_os_errors(InfraError, folder, "Removing"):
        while folder.is_dir():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)
