"""`POST /predict`, for people: `{"rows": [...]}` in, one prediction a row out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import rows_of
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.dialects import Page, Reading, Served, Written
from tidegate.serving.http.asgi import Headers
from tidegate.serving.http.json_body import decode, encode, error_body


class Rows:
    """Tidegate's own dialect, which is also the BentoML API's."""

    label, prefix = "/predict", "/predict"
    asks: tuple[str, ...] = ("/predict",)

    def __init__(self, served: Served) -> None:
        self._contract, self._reader = served.contract, RequestReader(served.contract)
        self._head = {"model": served.name, "release": served.release}
        self.pages: dict[str, Page] = {}

    def read(self, body: bytes, headers: Headers) -> Reading:
        """Understand a request; raises ContractError."""
        del headers
        return self.read_content(decode(body))

    def read_content(self, content: Any) -> Reading:
        """Understand a request that is parsed already; raises ContractError."""
        columns = self._reader.parse_request(content)
        settings, explain = self._reader.parse_settings(content), self._reader.parse_explain(content)
        return Reading(columns, rows_of(columns), None, settings, explain)

    def write(self, values: NDArray[np.float32], reading: Reading) -> Written:
        """One prediction a row, see `Contract.predictions`."""
        del reading
        return Written(encode({**self._head, "predictions": self._contract.predictions(values)}))

    def write_explained(self, values: NDArray[np.float32], explanations: list[dict[str, Any]]) -> Written:
        """The same, and an explanation a row, see `inference.explainer`."""
        told = {"predictions": self._contract.predictions(values), "explanations": explanations}
        return Written(encode({**self._head, **told}))

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """An error that names field, row and fix."""
        return error_body(kind, message, detail)


def make(served: Served) -> Rows:
    """The dialect for one release."""
    return Rows(served)
