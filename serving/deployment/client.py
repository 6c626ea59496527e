"""A client of an endpoint, with the standard library only."""

import http.client
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tidegate.serving.deployment.connections import CLOSED, Trust, connection_to, unreachable
from tidegate.serving.errors import ClientError

ROWS = 1000  # rows sent in one request
API_KEY = "TIDEGATE_API_KEY"
PROOF = "Tidegate-Proof"  # see `http.asgi`


def api_key(file: Path | None = None) -> str | None:
    """The API key for an endpoint: the first line of a file, else `$TIDEGATE_API_KEY`, else none.

    Raises:
        ClientError: the file cannot be read, or does not hold a key.
    """
    if file is None:
        key, source = os.environ.get(API_KEY, "").strip(), f"${API_KEY}"
        if not key:
            return None
    else:
        key, source = _first_line(file), str(file)
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise ClientError(
            f"{source} holds no key; expected one word of printable ASCII, as `tidegate keys NAME` shows it"
        )
    return key


def _first_line(file: Path) -> str:
    try:
        return next(iter(file.read_text("utf-8").splitlines()), "").strip()
    except (OSError, ValueError) as error:
        raise ClientError(
            f"the key file {file} cannot be read ({error}); expected a file whose first line is the API key"
        ) from error


class Client:
    """A client of one endpoint, over one connection that is kept open.

    Args:
        url: the endpoint's base URL, such as http://127.0.0.1:8001; with https the certificate is checked, against the
            authorities of `$SSL_CERT_FILE` where that is set.
        timeout: seconds to wait for a response.
        key: the API key, see `api_key`.
        proof: its rows are held-out ones that check a release; the endpoint's drift does not count them.
        trust: which certificate is accepted; default: as said of the URL.

    Example:
        with Client("http://127.0.0.1:8001") as client:
            client.predict([{"x": 1.0, "city": "Oslo"}])
    """

    def __init__(
        self,
        url: str,
        timeout: float = 30.0,
        key: str | None = None,
        *,
        proof: bool = False,
        trust: Trust | None = None,
    ) -> None:
        self._connection, self._trust = connection_to(url, timeout, trust), trust
        self.url = url.rstrip("/")
        self._prefix = urlsplit(url).path.rstrip("/")
        self._key = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._headers = self._key | ({PROOF: "1"} if proof else {})

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def contract(self) -> dict[str, Any]:
        """What a row and a prediction are, see `contract.contract`; raises ClientError."""
        return self._json("GET", "/contract")

    def ready(self) -> bool:
        """Whether the endpoint answers and is ready; False, and no error, for one that does not answer."""
        try:
            return self._request("GET", "/readyz", None)[0] == 200
        except ClientError:
            return False

    def predict(self, rows: Sequence[Any], decoding: Mapping[str, Any] | None = None) -> list[Any]:
        """Predict any number of rows, a thousand per request; raises ClientError.

        Args:
            rows: objects `{input name: value}`, or bare values where there is one input.
            decoding: for a model that writes texts, settings that differ from the release's, such as `{"seed": 1}`;
                such a request has at most the contract's `most_rows`.
        """
        found = self.responses(rows, decoding=decoding)
        return [prediction for answer in found for prediction in answer["predictions"]]

    def responses(
        self, rows: Sequence[Any], size: int = ROWS, decoding: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The complete response `{"model", "release", "predictions"}` to each `size` rows, one after the other."""
        more = {} if decoding is None else {"decoding": dict(decoding)}
        for start in range(0, max(len(rows), 1), size):
            content = json.dumps({"rows": list(rows[start : start + size]), **more}).encode()
            yield self._json("POST", "/predict", content)

    def _json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        status, content = self._request(method, path, body)
        if status in (401, 403):
            raise self._unauthorized(status)
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise ClientError(
                f"{self.url} answered {status} with something that is not JSON; expected an endpoint; "
                "check the port with `tidegate endpoints`",
                status,
            ) from error
        if status == 200:
            return dict(answer)
        detail = answer.get("error") if isinstance(answer, dict) else None
        reason = answer.get("message") if isinstance(answer, dict) else answer
        raise ClientError(
            f"{self.url} answered {status}: {reason}", status, detail if isinstance(detail, dict) else None
        )

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        reused = self._connection.sock is not None
        try:
            return self._exchange(method, path, body)
        except CLOSED as error:
            # A server may close an idle connection; only if a new one breaks it is an error.
            if not reused:
                raise self._unreachable(error) from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from error
        self._connection.close()
        try:
            return self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _unauthorized(self, status: int) -> ClientError:
        """A proxy in front of the endpoint may send this too, so the response's own message is not quoted."""
        received = "the API key is not valid there" if self._key else "the request had no API key"
        return ClientError(
            f"{self.url} answered {status}: {received}; expected a key that it knows; put one into ${API_KEY}, or into "
            "a file named with --key-file",
            status,
        )

    def _unreachable(self, error: Exception) -> ClientError:
        return unreachable(self.url, error, self._trust)
