"""Encrypts segments of recorded rows: AES-256-GCM with the key of a home."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidegate.serving.errors import RecordingError

KEY_BYTES = 32
MAGIC = b"TGREC1\0\0"
HEADER = struct.Struct("<8s8sI12s")  # magic, the key's id, rows, nonce
LEVEL = 1  # of zlib: the writer must not take the CPU of requests


class Cipher:
    """The key of a home, for its recorded rows alone.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key, self._aes = key, AESGCM(key)
        self.id = hashlib.sha256(b"id\0" + key).digest()[:8]

    @staticmethod
    def new_key() -> bytes:
        """The content of a new key's file."""
        return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"

    @staticmethod
    def read(path: Path) -> "Cipher":
        """The key in a file that its owner alone may read; raises RecordingError."""
        try:
            mode, content = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
        except OSError as error:
            raise RecordingError(
                f"the key of recorded rows {path} cannot be read ({error.strerror}); expected the file that encrypted "
                "them; restore it"
            ) from error
        if mode & 0o077:
            raise RecordingError(
                f"{path} has mode {mode:04o}, so others can read the key of recorded rows; expected 0600; "
                f"`chmod 600 {path}`"
            )
        try:
            key = base64.urlsafe_b64decode(content.strip())
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise RecordingError(
                f"{path} is no key of recorded rows; expected {KEY_BYTES} bytes in base64; restore the file, or move "
                "it and HOME/recordings away, and a new one is made: without the former one those rows cannot be read"
            )
        return Cipher(key)

    def seal(self, folder: Path, name: str, lines: list[bytes]) -> bytes:
        """Compress and encrypt rows, one JSON text each.

        Args:
            folder: of the endpoint, by whose name none is opened as another's.
            name: of the segment, for the same reason.
            lines: of the rows.
        """
        nonce = os.urandom(12)
        header = HEADER.pack(MAGIC, self.id, len(lines), nonce)
        plain = zlib.compress(b"\n".join(lines), LEVEL)
        return header + self._aes.encrypt(nonce, plain, header + _place(folder, name))

    def open(self, folder: Path, name: str, content: bytes) -> list[bytes]:
        """The rows of a segment; raises RecordingError where it is damaged, or of another key."""
        header = content[: HEADER.size]
        if len(header) < HEADER.size or header[:8] != MAGIC:
            raise RecordingError(f"{name} is no segment of recorded rows; expected one; delete it")
        _, key, _, nonce = HEADER.unpack(header)
        if key != self.id:
            raise RecordingError(
                f"{name} was encrypted with another key ({key.hex()}) than this home's ({self.id.hex()}); expected "
                "that one; restore HOME/keys/recording.key, or delete the segment"
            )
        try:
            plain = zlib.decompress(
                self._aes.decrypt(nonce, content[HEADER.size :], header + _place(folder, name))
            )
        except (InvalidTag, zlib.error) as error:
            raise RecordingError(
                f"{name} is damaged, or was renamed; expected it as a server wrote it; delete it"
            ) from error
        return plain.split(b"\n") if plain else []

    def digest(self, column: str, text: str) -> str:
        """A value of a column in a form that does not show it, hexadecimal."""
        return hmac.new(self._key, f"forget\0{column}\0{text}".encode(), hashlib.sha256).hexdigest()

    def digests_of(self, column: str, value: Any) -> set[str]:
        """The same of a value in a recorded row, in each of the forms that may be asked for."""
        forms = [form_of(value)]
        if isinstance(value, float) and _single(value) == value:
            forms.append(f"single\0{value!r}")
        return {self.digest(column, form) for form in forms}


def _place(folder: Path, name: str) -> bytes:
    return f"{folder.name}/{name}".encode()


def form_of(value: Any) -> str:
    """A value as it is compared: numbers by what they are, texts as they are written."""
    if isinstance(value, bool):
        return f"text\0{str(value).lower()}"
    if isinstance(value, int | float):
        whole = isinstance(value, int) or value.is_integer()
        return f"number\0{int(value) if whole else repr(value)}"
    return f"text\0{value}"


def forms_of(text: str) -> list[str]:
    """What a value that was written as a text may be in a row: that text, a number, or the float32 next to it."""
    forms = [form_of(text)]
    for kind in (int, float):
        try:
            number = kind(text)
            return [*forms, form_of(number), f"single\0{_single(float(number))!r}"]
        except (ValueError, OverflowError):
            continue
    return forms


def _single(value: float) -> float:
    """The nearest float32; of one beyond its range the value itself."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return value


def rows_in(content: bytes) -> int:
    """How many rows a segment has, by its first bytes; 0 for another file."""
    header = content[: HEADER.size]
    if len(header) < HEADER.size or header[:8] != MAGIC:
        return 0
    rows: int = HEADER.unpack(header)[2]
    return rows
