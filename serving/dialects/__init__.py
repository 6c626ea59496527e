"""The dialects an endpoint speaks: one module each, all from the one contract.

A dialect is a module with `make(served)` that returns a `Dialect`. To add one, write the module and name it here.
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
from tidegate.serving.http.asgi import JSON, Headers, Pairs

DIALECTS = {
    "predict": "tidegate.serving.dialects.rows",
    "tfserving": "tidegate.serving.dialects.tfserving",
    "v2": "tidegate.serving.dialects.v2",
}


@dataclass(frozen=True)
class Served:
    """What answers: the endpoint's name, the release's number (None for a bento by itself), the contract."""

    name: str
    release: int | None
    contract: Contract

    @property
    def version(self) -> str:
        """The release as the standard dialects want it: a positive number."""
        return str(self.release or 1)


class Reading(NamedTuple):
    """A request that was understood: raw columns, their rows, what the answer's form depends on, how texts or boxes are
    chosen where the request says so, and whether predictions are to be explained."""

    columns: Columns
    rows: int
    wanted: Any = None
    settings: DecodingSettings | None = None
    explain: bool = False


class Written(NamedTuple):
    """The body of an answer, its media type and more headers."""

    body: bytes
    media: bytes = JSON
    headers: Pairs | None = None


Page: TypeAlias = Callable[[bool], tuple[int, bytes]]


class Dialect(Protocol):
    """One way to ask for predictions and to be answered.

    Attributes:
        label: what metrics call its route.
        prefix: of all its paths.
        asks: the paths that `POST` predicts at.
        pages: what `GET` answers by path, from whether the release is ready: status and JSON body.
    """

    label: str
    prefix: str
    asks: tuple[str, ...]
    pages: dict[str, Page]

    def read(self, body: bytes, headers: Headers) -> Reading:
        """Understand a request; raises ContractError."""

    def write(self, values: NDArray[np.float32], reading: Reading) -> Written:
        """Write predictions `(n, classes)` or `(n, outputs)`, or texts or boxes, as the answer."""

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """Write an error, JSON."""


def no_explanation(received: object) -> ContractError:
    """What a dialect says that has no form for explanations."""
    expected = "no such key: this dialect has no form for explanations"
    return ContractError(
        "explain", describe(received), expected, 'ask POST /predict {"rows", "explain": true}'
    )


def speak(served: Served) -> dict[str, Dialect]:
    """All dialects by name, for one release."""
    return {name: import_module(module).make(served) for name, module in DIALECTS.items()}
