"""The inference engine: a loaded release that answers request bodies, in every dialect, independent of HTTP."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.decoding.settings import Decoding
from tidegate.serving.bundle.measurements import INLINE_SECONDS, Probed
from tidegate.serving.dialects import Dialect, ParsedRequest, ServedModel, make_dialects
from tidegate.serving.dialects.rows import RowsDialect
from tidegate.serving.errors import ContractError, PredictionError, StoppedWritingError
from tidegate.serving.http.admission import Limits
from tidegate.serving.http.asgi import JSON, HeaderList, Headers
from tidegate.serving.inference.batching import Batcher
from tidegate.serving.inference.explainer import Explainer
from tidegate.serving.inference.golden import Golden
from tidegate.serving.inference.predictor import Predictor, Tell
from tidegate.serving.monitoring.metrics import Metrics
from tidegate.serving.monitoring.observer import Observer, Recorder

LOG = logging.getLogger("tidegate")
INLINE_BYTES = 16384
BINARY_SAVING = 4  # a row in binary may be this many times smaller than in JSON
DEFAULT_LIMITS = Limits()


class Latency(NamedTuple):
    """Seconds that a model takes: for a request of one row, and for each row of a larger one."""

    one_row: float
    per_row: float


class Response(NamedTuple):
    """Status and body of a response, and what it was made from.

    Attributes:
        status, body, media, headers: as sent; media is the content type.
        kind: of an error; "" for none.
        columns, values: of a prediction, its raw columns and the predicted values.
        seconds: in transforms and model.
        busy: seconds with reading and writing included; 0 for an explanation, which does not show how long predictions
            take.
        pending: computes the actual response, an explanation, which takes long.
        unseen: of a prediction, by field the rows whose category or id training did not know.
    """

    status: int
    body: bytes
    media: bytes = JSON
    headers: HeaderList | None = None
    kind: str = ""
    columns: Columns | None = None
    values: NDArray[np.float32] | None = None
    seconds: float = 0.0
    busy: float = 0.0
    pending: Callable[[], "Response"] | None = None
    unseen: Mapping[str, int] | None = None


class InferenceEngine:
    """Answers request bodies for one release, in every dialect.

    Args:
        predictor: the loaded bundle, warmed up.
        served: the endpoint's name, the release's number and the contract.
        latency: how long a prediction takes.
        sample: rows as in a request, for the OpenAPI page's example.
        max_rows: rows of one request.
        batch: rows that are predicted together; 1: each request by itself.
        explainer: explains predictions; None: they are not explained.

    Attributes:
        observer: receives the answered requests, in a thread of its own; None for none.
        recorder: keeps a share of them; None: none is kept.
        deadline: seconds that texts and explanations may take; None: any time.
        golden: rows that prove it again from time to time; None in a release of an older version.
        proof: how far its answers to them were from the trained model's, when it was loaded.
    """

    def __init__(
        self,
        predictor: Predictor,
        served: ServedModel,
        latency: Latency,
        sample: list[Any],
        max_rows: int = DEFAULT_LIMITS.max_rows,
        batch: int = 1,
        explainer: Explainer | None = None,
    ) -> None:
        self.explainer = explainer
        self.predictor, self.served, self.latency, self.sample = predictor, served, latency, sample
        self.deadline: float | None = None
        self.max_rows = max_rows
        self.observer: Observer | None = None
        self.recorder: Recorder | None = None
        self.golden: Golden | None = None
        self.proof: Probed | None = None
        self.batcher = Batcher(predictor.predict_columns, batch) if batch > 1 else None
        classes = () if served.contract.shape else served.contract.classes
        labels, threshold = [_label(name) for name in classes], served.contract.threshold
        self.metrics = Metrics(served.name, served.release, labels, threshold)
        self.dialects = make_dialects(served)
        self.default_dialect = RowsDialect(served)
        contract = predictor.contract
        self.contract_json = contract.model_dump_json(exclude_none=True).encode()
        # The size of a request for texts does not show how long they take.
        self._quick_bytes = 0 if batch > 1 or contract.decoding else _quick_bytes(latency, sample)

    def answer(self, dialect: Dialect, body: bytes, headers: Headers, tell: Tell | None = None) -> Response:
        """Answer one request body; every error of the request becomes a response too.

        Args:
            dialect, body, headers: of the request.
            tell: called with the pieces of texts as they are written, see `Predictor.predict_columns`.

        Raises:
            StoppedWritingError: `tell` does, and nobody waits for the response.
        """
        began = time.perf_counter()
        try:
            return self._predict(dialect, dialect.read(body, headers), began, tell)
        except StoppedWritingError:
            raise
        except Exception as error:  # whatever a runtime raises, the client gets an error of its dialect
            return self._failed(dialect, error)

    def answer_content(self, content: object) -> Response:
        """Answer one `/predict` body whose JSON is parsed already."""
        began = time.perf_counter()
        try:
            answer = self._predict(self.default_dialect, self.default_dialect.read_content(content), began)
        except Exception as error:
            return self._failed(self.default_dialect, error)
        return answer if answer.pending is None else answer.pending()

    def predict(self, request: ParsedRequest, tell: Tell | None = None) -> NDArray[np.float32]:
        """Predict a parsed request; raises ContractError for too many rows, PredictionError."""
        most = min(self.max_rows, self.served.contract.most_rows or self.max_rows)
        if request.explain and self.served.contract.explain is not None:
            most = min(most, self.served.contract.explain.rows)
        if request.rows > most:
            expected = f"at most {most} in one request" + (" to explain" if request.explain else "")
            raise ContractError("rows", f"{request.rows} rows", expected, "send fewer at a time")
        if self.served.contract.decoding is not None:
            until = None if self.deadline is None else time.monotonic() + self.deadline
            return self.predictor.predict_columns(request.columns, request.settings, until, tell)
        own = request.settings in (None, self.served.contract.settings)
        if self.batcher is None or not own:
            return self.predictor.predict_columns(request.columns, request.settings)
        return self.batcher.predict(request.columns)

    def is_quick(self, size: int, dialect: Dialect | None = None) -> bool:
        """Whether a body of `size` bytes is answered about as fast as it could be passed to a thread.

        A longer one in the event loop would make all other requests wait, even those that will be rejected.
        """
        more = 0 if dialect is None else dialect.overhead
        return self._quick_bytes > 0 and size < self._quick_bytes + more

    def may_explain(self, dialect: Dialect, body: bytes) -> bool:
        """Whether a body may ask for explanations; that most do not is found out without parsing them."""
        if self.explainer is None or not isinstance(dialect, RowsDialect):
            return False
        first = body.find(b'"')
        # Only one name, "rows", and the rows hold numbers: found in a tenth of the time of the search below.
        if body.find(b'"', body.find(b'"', first + 1) + 1) < 0:
            return False
        return b'"explain"' in body or b"\\u" in body  # any letter may be written as \uXXXX

    def _predict(
        self, dialect: Dialect, request: ParsedRequest, began: float, tell: Tell | None = None
    ) -> Response:
        if tell is not None and isinstance(request.settings, Decoding) and request.settings.method == "beam":
            expected = "greedy or sample, which write a text token by token"
            fix = 'set {"decoding": {"method": "greedy"}}, or leave out Accept: text/event-stream'
            raise ContractError("decoding.method", "'beam' for a stream", expected, fix)
        if request.explain and self.explainer is not None:
            return Response(202, b"", pending=partial(self._explain, self.explainer, request))
        read = time.perf_counter()
        values = self.predict(request, tell)
        predicted = time.perf_counter()
        written = dialect.write(values, request)
        busy = time.perf_counter() - began
        body, media, headers = written
        unseen = self.predictor.transforms.unseen(request.columns)
        return Response(
            200, body, media, headers, "", request.columns, values, predicted - read, busy, unseen=unseen
        )

    def _explain(self, explainer: Explainer, request: ParsedRequest) -> Response:
        began = time.perf_counter()
        try:
            values = self.predict(request)
            predicted = time.perf_counter() - began
            explanations = explainer.explain(request.columns, values, self.deadline)
            body, media, headers = self.default_dialect.write_explained(values, explanations)
        except Exception as error:
            return self._failed(self.default_dialect, error)
        unseen = self.predictor.transforms.unseen(request.columns)
        return Response(200, body, media, headers, "", request.columns, values, predicted, unseen=unseen)

    def _failed(self, dialect: Dialect, error: Exception) -> Response:
        if isinstance(error, ContractError):
            body = dialect.error("contract", str(error), error.detail())
            return Response(400, body, kind="contract")
        if isinstance(error, PredictionError):
            return Response(500, dialect.error("prediction", str(error)), kind="prediction")
        # The traceback without the message, which may quote the request.
        LOG.error("a prediction failed: %s", type(error).__name__, exc_info=_without_message(error))
        words = "the prediction failed; see the endpoint's log"
        return Response(500, dialect.error("internal", words), kind="internal")


def _quick_bytes(latency: Latency, sample: list[Any]) -> int:
    """Requests of fewer bytes are quick: 0 where one row takes too long, else more than one row in JSON."""
    if latency.one_row > INLINE_SECONDS:
        return 0
    row = len(json.dumps({"rows": sample[:1]}))
    rows = 1 + (INLINE_SECONDS - latency.one_row) / max(latency.per_row, 1e-6)
    return max(2 * row, min(INLINE_BYTES, int(rows * row / BINARY_SAVING)))


def _label(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _without_message(error: Exception) -> tuple[type[Exception], Exception, Any]:
    return RuntimeError, RuntimeError("(its message is left out)"), error.__traceback__
