"""Tidegate's own dialect, `POST /predict`: `{"rows": [...]}` in, one prediction per row out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import rows_of
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.dialects import DialectPage, EncodedResponse, ParsedRequest, ServedModel
from tidegate.serving.http.asgi import Headers
from tidegate.serving.http.json_body import decode, encode, error_body


class RowsDialect:
    """Tidegate's own dialect, which is also the BentoML API's."""

    label, prefix = "/predict", "/predict"
    predict_paths: tuple[str, ...] = ("/predict",)
    overhead = 0

    def __init__(self, served: ServedModel) -> None:
        self._contract, self._reader = served.contract, RequestReader(served.contract)
        self._head = {"model": served.name, "release": served.release}
        self.pages: dict[str, DialectPage] = {}

    def read(self, body: bytes, headers: Headers) -> ParsedRequest:
        """Parse a request; raises ContractError."""
        del headers
        return self.read_content(decode(body))

    def read_content(self, content: Any) -> ParsedRequest:
        """Read a request whose JSON is parsed already; raises ContractError."""
        columns = self._reader.parse_request(content)
        settings, explain = self._reader.parse_settings(content), self._reader.parse_explain(content)
        return ParsedRequest(columns, rows_of(columns), None, settings, explain)

    def write(self, values: NDArray[np.float32], request: ParsedRequest) -> EncodedResponse:
        """One prediction per row, see `Contract.predictions`."""
        del request
        return EncodedResponse(encode({**self._head, "predictions": self._contract.predictions(values)}))

    def write_explained(
        self, values: NDArray[np.float32], explanations: list[dict[str, Any]]
    ) -> EncodedResponse:
        """The same, and an explanation per row, see `inference.explainer`."""
        content = {"predictions": self._contract.predictions(values), "explanations": explanations}
        return EncodedResponse(encode({**self._head, **content}))

    def error(self, kind: str, message: str, detail: dict[str, Any] | None = None) -> bytes:
        """An error that names field, row and fix."""
        return error_body(kind, message, detail)


def make(served: ServedModel) -> RowsDialect:
    """The dialect for one release."""
    return RowsDialect(served)
