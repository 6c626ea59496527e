"""The dialects of an endpoint, which are inference protocols: one module each, all made from the one contract.

A dialect is a module with `make(served)` that returns a `Dialect`. To add one, write the module and list it here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.descriptions import describe
from tidegate.serving.errors import ContractError
from tidegate.serving.http.asgi import JSON, HeaderList, Headers

DIALECTS = {
    "predict": "tidegate.serving.dialects.rows",
    "tfserving": "tidegate.serving.dialects.tfserving",
    "v2": "tidegate.serving.dialects.v2",
}


@dataclass(frozen=True)
class ServedModel:
    """The model being served: the endpoint's name, the release's number (None for a bento by itself), the contract."""

    name: str
    release: int | None
    contract: Contract

    @property
    def version(self) -> str:
        """The release's number as a text, for the standard dialects; "1" for a bento by itself."""
        return str(self.release or 1)


class ParsedRequest(NamedTuple):
    """A request as its dialect parsed it.

    Attributes:
        columns: raw columns, `rows` values each.
        rows: how many.
        response_format: what the dialect needs to know of the request to write the response.
        settings: how texts or boxes are chosen, where the request says so.
        explain: whether the predictions are to be explained.
    """

    columns: Columns
    rows: int
    response_format: Any = None
    settings: DecodingSettings | None = None
    explain: bool = False


class EncodedResponse(NamedTuple):
    """The body of a response, its media type and additional headers."""

    body: bytes
    media: bytes = JSON
    headers: HeaderList | None = None


DialectPage: TypeAlias = Callable[[bool], tuple[int, bytes]]


class Dialect(Protocol):
    """One format of prediction requests and their responses.

    Attributes:
        label: its route in the metrics.
        prefix: of all its paths.
        predict_paths: where `POST` predicts.
        overhead: bytes of a request, about, that do not hold rows, however many it has.
        pages: its `GET` pages by path; each gets whether the release is ready, and returns status and JSON body.
    """

    label: str
    prefix: str
    predict_paths: tuple[str, ...]
    overhead: int
    pages: dict[str, DialectPage]

    def read(self, body: bytes, headers: Headers) -> ParsedRequest:
        """Parse a request; raises ContractError."""

    def write(self, values: NDArray[np.float32], request: ParsedRequest) -> EncodedResponse:
        """Write predictions `(n, classes)` or `(n, outputs)`, or texts or boxes, as the response."""

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """Write an error's body."""


def explain_unsupported(received: object) -> ContractError:
    """The error of a dialect that has no format for explanations."""
    expected = "no such key: this dialect has no format for explanations"
    return ContractError(
        "explain", describe(received), expected, 'send POST /predict {"rows": [...], "explain": true}'
    )


def make_dialects(served: ServedModel) -> dict[str, Dialect]:
    """All dialects by name, for one release."""
    return {name: import_module(module).make(served) for name, module in DIALECTS.items()}
