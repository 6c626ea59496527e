"""Everything that can go wrong between a trained model and an answered request.

ServingError
├── BundleError            a bundle is missing, damaged or not what its manifest says
├── ModelLoadError         no runtime here can load the model file
│   └── UntrustedModelError  refused before loading: it could run code, read other files or use up the memory
├── ContractError          a request does not fit the contract; names field and row (HTTP 400)
├── RejectedError          a request is rejected before the model sees it (limits, overload, no key)
├── PredictionError        the model's output is not a prediction (HTTP 500)
├── StoppedWritingError    nobody reads a text any more that is being written
├── ParityError            the served model could not be compared with the trained one
├── ProofError             a replica does not answer its golden rows as the trained model did
├── RecordingError         recorded rows, or their key, cannot be read or written
├── BentoError             the bento could not be built
├── ReleaseError           the release does not exist, or there is none to go back to
├── ServerError            a server process could not carry out a command
│   ├── ServerStartError   it ended, or did not become ready in time
│   └── PortTakenError     another process listens on the endpoint's port
├── ScoringError           a chunk of many rows could not be predicted; names its rows
└── ClientError            an endpoint could not be reached, or refused the request

Every message says what was received, what was expected and how to fix it.
"""

from typing import Any


class ServingError(Exception):
    """The base of all errors of `serving`."""


class BundleError(ServingError):
    """A bundle is missing, damaged or not what its manifest says."""


class ModelLoadError(ServingError):
    """The model file cannot be loaded by the runtime that is to serve it."""


class UntrustedModelError(ModelLoadError):
    """The model file is refused before a runtime loads it: it could run code or read other files."""


class ContractError(ServingError):
    """A request does not fit the contract.

    Args:
        field: the input's name, or "rows" for the request as a whole.
        received: a description of what was sent.
        expected: what the contract asks for.
        fix: what the sender can do.
        row: the row's position, counted from 0; None where the error is not in one row.
    """

    def __init__(self, field: str, received: str, expected: str, fix: str, row: int | None = None) -> None:
        self.field, self.received, self.expected, self.fix, self.row = field, received, expected, fix, row
        where = f"{field!r}" if row is None else f"{field!r} of row {row}"
        super().__init__(f"{where}: received {received}; expected {expected}; {fix}")

    def detail(self) -> dict[str, Any]:
        """The error as a JSON object, as endpoints send it."""
        return {
            "field": self.field,
            "received": self.received,
            "expected": self.expected,
            "fix": self.fix,
            "row": self.row,
        }


class RejectedError(ServingError):
    """A request is rejected before the model sees it.

    Args:
        status: the HTTP status.
        kind: a word for programs and metrics.
        message: what was received, what is expected and how to fix it.
        headers: additional response headers, such as `retry-after`.
    """

    def __init__(
        self, status: int, kind: str, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.status, self.kind, self.headers = status, kind, headers
        super().__init__(message)


class PredictionError(ServingError):
    """The model's output is not a prediction: a wrong shape, or not finite."""


class StoppedWritingError(ServingError):
    """Nobody reads a text any more that is being written: the work ends."""


class ParityError(ServingError):
    """The served model could not be compared with the trained one."""


class ProofError(ServingError):
    """A replica does not answer its golden rows as the trained model did.

    Args:
        message: which row, and how far.
        wrong: whether it answered; False: it could not, which may pass.
    """

    def __init__(self, message: str, *, wrong: bool = True) -> None:
        self.wrong = wrong
        super().__init__(message)


class RecordingError(ServingError):
    """Recorded rows, or the key that encrypts them, cannot be read or written."""


class BentoError(ServingError):
    """The bento could not be built."""


class ReleaseError(ServingError):
    """The release does not exist, or there is none to go back to."""


class ServerError(ServingError):
    """A server process could not carry out a command."""


class ServerStartError(ServerError):
    """A server ended, or did not become ready in time."""


class PortTakenError(ServerError):
    """Another process listens on the endpoint's port.

    Args:
        port: the requested port.
        host: the requested address.
    """

    def __init__(self, port: int, host: str) -> None:
        self.port = port
        super().__init__(
            f"port {port} of {host} is in use by another process; expected it to be free for the endpoint; "
            "stop that process, or choose another port with --port"
        )


class ScoringError(ServingError):
    """A chunk of many rows could not be predicted."""


class ClientError(ServingError):
    """An endpoint could not be reached, or refused the request.

    Args:
        message: what happened.
        status: the HTTP status of the response; None when there was none.
        detail: the `error` object of the response, when it had one.
    """

    def __init__(self, message: str, status: int | None = None, detail: dict[str, Any] | None = None) -> None:
        self.status, self.detail = status, detail
        super().__init__(message)
