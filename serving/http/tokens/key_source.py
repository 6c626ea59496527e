"""Where an issuer's public keys are: at a URL, or in a file."""

import json
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError, URLError

from tidegate.serving.errors import ServerError
from tidegate.serving.http.file_stamp import file_stamp

FETCH_SECONDS = 10.0
PART_SECONDS = 5.0  # without a byte
MOST_BYTES = 1 << 20


class KeySource(Protocol):
    """Where keys are read from."""

    waits: bool  # whether reading takes long, so that a thread does it

    def stamp(self) -> object:
        """A value that is another one when there is something new to read; None: nobody knows without reading."""

    def read(self) -> dict[str, Any]:
        """The JSON Web Key Set; raises ServerError."""


class KeyFile:
    """Keys in a file, which may be replaced at any time."""

    waits = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return f"the file {self._path}"

    def stamp(self) -> object:
        """Another value when there is another file; None if there is none."""
        return file_stamp(self._path)

    def read(self) -> dict[str, Any]:
        """The JSON Web Key Set; raises ServerError."""
        try:
            return _parse(self._path.read_bytes(), str(self))
        except OSError as error:
            raise ServerError(f"{self} cannot be read ({error}); expected a JSON Web Key Set") from error


class KeyUrl:
    """Keys at a URL. It is asked through $HTTPS_PROXY, and certificates are checked with $SSL_CERT_FILE, if set."""

    waits = True

    def __init__(self, url: str) -> None:
        self._url = url

    def __str__(self) -> str:
        return self._url

    def stamp(self) -> object:
        """None: only its issuer knows whether there are new ones."""
        return None

    def read(self) -> dict[str, Any]:
        """The JSON Web Key Set; raises ServerError: not answered within 10 s, or with something else."""
        asked = urllib.request.Request(
            self._url, headers={"Accept": "application/json", "User-Agent": "tidegate"}
        )
        try:
            return _parse(self._fetch(asked), self._url)
        except HTTPError as error:
            error.close()
            raise ServerError(
                f"{self._url} answers {error.code} {error.reason}; expected a JSON Web Key Set"
            ) from error
        except URLError as error:
            raise ServerError(
                f"{self._url} does not answer ({error.reason}); expected a JSON Web Key Set"
            ) from error
        except (OSError, HTTPException, ValueError) as error:  # the latter of a URL that cannot be asked
            raise ServerError(
                f"{self._url} does not answer ({str(error).strip()}); expected a JSON Web Key Set"
            ) from error

    def _fetch(self, asked: urllib.request.Request) -> bytes:
        until, body = time.monotonic() + FETCH_SECONDS, b""
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(asked, timeout=PART_SECONDS) as answer:
            while part := answer.read1(65536):
                body += part
                if len(body) > MOST_BYTES:
                    raise ServerError(
                        f"{self._url} answers more than {MOST_BYTES} bytes; expected a JSON Web Key Set"
                    )
                if time.monotonic() > until:
                    raise ServerError(
                        f"{self._url} did not answer within {FETCH_SECONDS:g} s; expected a key set"
                    )
        return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from where the experiment says, and from nowhere else."""

    def redirect_request(self, *args: Any) -> None:
        """None: the redirection is an answer like any other that is not 200."""
        del args


def _parse(body: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("keys"), list):
        raise ServerError(f'{where} has no JSON Web Key Set; expected {{"keys": [...]}}; correct it')
    return content
