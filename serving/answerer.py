"""A loaded release that answers: body in, body out, with nothing of HTTP but status codes."""

import logging
import os
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.columns import Columns
from serving.asgi import JSON, Headers, Pairs
from serving.batching import Batcher, measure
from serving.bundle import Bundle, open_bundle
from serving.dialects import Dialect, Reading, Served, speak
from serving.dialects.rows import Rows
from serving.drift import Drift
from serving.errors import ContractError, PredictionError
from serving.limits import Limits
from serving.metrics import Metrics
from serving.predictor import Predictor
from serving.runtimes import available_cpus
from serving.tap import Watcher

LOG = logging.getLogger("tidegate")
BUNDLE, NAME, RELEASE = "TIDEGATE_BUNDLE", "TIDEGATE_NAME", "TIDEGATE_RELEASE"
INLINE_SECONDS = 0.002  # a prediction that takes longer leaves the event loop to a thread
INLINE_BYTES = 16384
PLANE = Limits()


class Answer(NamedTuple):
    """Status and body; of a prediction also what was predicted from what, and the seconds it took.

    `kind` is that of the error, "" for none; `seconds` those in transforms and model, `busy` with reading and writing.
    """

    status: int
    body: bytes
    media: bytes = JSON
    headers: Pairs | None = None
    kind: str = ""
    columns: Columns | None = None
    values: NDArray[np.float32] | None = None
    seconds: float = 0.0
    busy: float = 0.0


class Answerer:
    """Answers request bodies for one release, in every dialect; `watcher` sees every answered request, off its path.

    Args:
        predictor: the loaded bundle, warmed up.
        served: the endpoint's name, the release's number and the contract.
        seconds: how long it takes to predict one row.
        sample: rows as a request has them, for the OpenAPI page's example.
        most_rows: rows of one request.
        batch: rows that are predicted together, 1 for none.
    """

    def __init__(
        self,
        predictor: Predictor,
        served: Served,
        seconds: float,
        sample: list[Any],
        most_rows: int = PLANE.rows,
        batch: int = 1,
    ) -> None:
        self.predictor, self.served, self.seconds, self.sample = predictor, served, seconds, sample
        self.most_rows = most_rows
        self.watcher: Watcher | None = None
        self.batcher = Batcher(predictor.predict_columns, batch) if batch > 1 else None
        self.metrics = Metrics(
            served.name, served.release, [_label(name) for name in served.contract.classes]
        )
        self.dialects = speak(served)
        self.rows = Rows(served)
        self.contract = predictor.contract.model_dump_json().encode()

    def answer(self, dialect: Dialect, body: bytes, headers: Headers) -> Answer:
        """Answer one request body; every fault of the request is an answer too."""
        began = time.perf_counter()
        try:
            return self._predict(dialect, dialect.read(body, headers), began)
        except Exception as error:  # whatever a runtime raises, the client gets its dialect's error
            return self._failed(dialect, error)

    def answer_content(self, content: object) -> Answer:
        """Answer one `/predict` body that is parsed already."""
        began = time.perf_counter()
        try:
            return self._predict(self.rows, self.rows.read_content(content), began)
        except Exception as error:
            return self._failed(self.rows, error)

    def predict(self, reading: Reading) -> NDArray[np.float32]:
        """Predict what was read; raises ContractError for too many rows, PredictionError."""
        if reading.rows > self.most_rows:
            expected = f"at most {self.most_rows} in one request"
            raise ContractError("rows", f"{reading.rows} rows", expected, "send fewer at a time")
        if self.batcher is None:
            return self.predictor.predict_columns(reading.columns)
        return self.batcher.predict(reading.columns)

    def is_quick(self, size: int) -> bool:
        """Whether a body of `size` bytes is answered faster than a thread could be asked."""
        return size <= INLINE_BYTES and self.seconds <= INLINE_SECONDS

    def _predict(self, dialect: Dialect, reading: Reading, began: float) -> Answer:
        read = time.perf_counter()
        values = self.predict(reading)
        predicted = time.perf_counter()
        written = dialect.write(values, reading)
        busy = time.perf_counter() - began
        body, media, headers = written
        return Answer(200, body, media, headers, "", reading.columns, values, predicted - read, busy)

    def _failed(self, dialect: Dialect, error: Exception) -> Answer:
        if isinstance(error, ContractError):
            body = dialect.error("contract", str(error), error.detail())
            return Answer(400, body, kind="contract")
        if isinstance(error, PredictionError):
            return Answer(500, dialect.error("prediction", str(error)), kind="prediction")
        # The traceback without the message, which may quote what was asked.
        LOG.error("a prediction failed: %s", type(error).__name__, exc_info=_silent(error))
        words = "the prediction failed; see the endpoint's log"
        return Answer(500, dialect.error("internal", words), kind="internal")


@cache
def loaded() -> Answerer:
    """The one release of this process: `$TIDEGATE_BUNDLE`, or the `bundle` folder beside the bento's code.

    Raises:
        BundleError, ModelLoadError, PredictionError: it cannot be served.
    """
    folder = Path(os.environ.get(BUNDLE) or Path(__file__).resolve().parents[1] / "bundle")
    bundle = open_bundle(folder)
    number = os.environ.get(RELEASE)
    predictor, seconds = _fastest(bundle)
    name = os.environ.get(NAME) or bundle.manifest.name
    served = Served(name, int(number) if number else None, predictor.contract)
    batch = 1
    if seconds > INLINE_SECONDS:  # else a request is answered before another could wait for it
        batch = measure(predictor.predict_columns, predictor.contract.parse_rows(bundle.sample))
    answerer = Answerer(predictor, served, seconds, bundle.sample, batch=batch)
    if bundle.reference is not None:
        drift = Drift(bundle.reference, served.contract, served.name, served.release)
        answerer.watcher = drift
        answerer.metrics.add(drift)
    return answerer


def _fastest(bundle: Bundle) -> tuple[Predictor, float]:
    """Load with one thread where a row is predicted faster than others could be woken, else with all."""
    for threads in (1, available_cpus()) if bundle.manifest.runtime == "onnx" else (available_cpus(),):
        predictor = Predictor.of(bundle, threads)
        seconds = _warm_up(predictor, bundle.sample)
        if seconds <= INLINE_SECONDS:
            break
    return predictor, seconds


def _warm_up(predictor: Predictor, rows: list[object]) -> float:
    """Seconds a row takes, the first predictions left out: a runtime allocates in them."""
    for _ in range(3):
        started = time.perf_counter()
        predictor.predict_rows(rows)
        seconds = (time.perf_counter() - started) / len(rows)
    return seconds


def _label(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _silent(error: Exception) -> tuple[type[Exception], Exception, Any]:
    return RuntimeError, RuntimeError("(its message is left out)"), error.__traceback__
