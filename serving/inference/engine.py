"""A loaded release that answers: body in, body out, with nothing of HTTP but status codes."""

import json
import logging
import os
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.measurements import INLINE_SECONDS
from tidegate.serving.dialects import Dialect, Reading, Served, speak
from tidegate.serving.dialects.rows import Rows
from tidegate.serving.errors import ContractError, PredictionError
from tidegate.serving.http.admission import Limits
from tidegate.serving.http.asgi import JSON, Headers, Pairs
from tidegate.serving.inference.batching import Batcher
from tidegate.serving.inference.explainer import Explainer
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.monitoring.drift import Drift
from tidegate.serving.monitoring.metrics import Metrics
from tidegate.serving.monitoring.observer import Watcher
from tidegate.serving.runtimes import available_cpus

LOG = logging.getLogger("tidegate")
BUNDLE, NAME, RELEASE = "TIDEGATE_BUNDLE", "TIDEGATE_NAME", "TIDEGATE_RELEASE"
INLINE_BYTES = 16384
BINARY = 4  # times smaller than in JSON a row may be
WARM, ENOUGH = 5, 0.2  # predictions to warm up with, and the seconds after which fewer will do
PLANE = Limits()


class Pace(NamedTuple):
    """Seconds that a model takes: for a request of one row, and for each row of a larger one."""

    one: float
    row: float


class Answer(NamedTuple):
    """Status and body; of a prediction also what was predicted from what, and the seconds it took.

    `kind` is that of the error, "" for none; `seconds` those in transforms and model, `busy` with reading and writing,
    0 of an explanation, which says nothing of how long predictions take. `pending`: this is no answer yet, and what it
    gives takes long.
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
    pending: Callable[[], "Answer"] | None = None


class Answerer:
    """Answers request bodies for one release, in every dialect; `watcher` sees every answered request, off its path.

    Args:
        predictor: the loaded bundle, warmed up.
        served: the endpoint's name, the release's number and the contract.
        pace: how long it takes to predict.
        sample: rows as a request has them, for the OpenAPI page's example.
        most_rows: rows of one request.
        batch: rows that are predicted together, 1 for none.
        explainer: explains predictions; None: they are not explained.
    """

    def __init__(
        self,
        predictor: Predictor,
        served: Served,
        pace: Pace,
        sample: list[Any],
        most_rows: int = PLANE.rows,
        batch: int = 1,
        explainer: Explainer | None = None,
    ) -> None:
        self.explainer = explainer
        self.predictor, self.served, self.pace, self.sample = predictor, served, pace, sample
        self.deadline: float | None = None  # seconds that texts and explanations may take
        self.most_rows = most_rows
        self.watcher: Watcher | None = None
        self.batcher = Batcher(predictor.predict_columns, batch) if batch > 1 else None
        self.metrics = Metrics(
            served.name, served.release, [_label(name) for name in served.contract.classes]
        )
        self.dialects = speak(served)
        self.rows = Rows(served)
        contract = predictor.contract
        self.contract = contract.model_dump_json(exclude_none=True).encode()
        # What a text takes is not told by its request's size.
        self._quick = 0 if batch > 1 or contract.decoding else _quick_bytes(pace, sample)

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
            answer = self._predict(self.rows, self.rows.read_content(content), began)
        except Exception as error:
            return self._failed(self.rows, error)
        return answer if answer.pending is None else answer.pending()

    def predict(self, reading: Reading) -> NDArray[np.float32]:
        """Predict what was read; raises ContractError for too many rows, PredictionError."""
        most = min(self.most_rows, self.served.contract.most_rows or self.most_rows)
        if reading.explain and self.served.contract.explain is not None:
            most = min(most, self.served.contract.explain.rows)
        if reading.rows > most:
            expected = f"at most {most} in one request" + (" to explain" if reading.explain else "")
            raise ContractError("rows", f"{reading.rows} rows", expected, "send fewer at a time")
        if self.served.contract.decoding is not None:
            until = None if self.deadline is None else time.monotonic() + self.deadline
            return self.predictor.predict_columns(reading.columns, reading.settings, until)
        own = reading.settings in (None, self.served.contract.settings)
        if self.batcher is None or not own:
            return self.predictor.predict_columns(reading.columns, reading.settings)
        return self.batcher.predict(reading.columns)

    def is_quick(self, size: int) -> bool:
        """Whether a body of `size` bytes is answered about as fast as a thread could be asked.

        What takes longer would keep all other requests waiting, those that are to be refused too.
        """
        return size < self._quick

    def may_explain(self, dialect: Dialect, body: bytes) -> bool:
        """Whether a body may ask for explanations: it need not be parsed to see that it does not."""
        if self.explainer is None or not isinstance(dialect, Rows):
            return False
        first = body.find(b'"')
        if body.find(b'"', body.find(b'"', first + 1) + 1) < 0:
            return (
                False  # its one name is that of the rows, which are numbers: found out in a tenth of the time
            )
        return b'"explain"' in body or b"\\u" in body  # any letter may be written as \uXXXX

    def _predict(self, dialect: Dialect, reading: Reading, began: float) -> Answer:
        if reading.explain and self.explainer is not None:
            return Answer(202, b"", pending=partial(self._explain, self.explainer, reading))
        read = time.perf_counter()
        values = self.predict(reading)
        predicted = time.perf_counter()
        written = dialect.write(values, reading)
        busy = time.perf_counter() - began
        body, media, headers = written
        return Answer(200, body, media, headers, "", reading.columns, values, predicted - read, busy)

    def _explain(self, explainer: Explainer, reading: Reading) -> Answer:
        began = time.perf_counter()
        try:
            values = self.predict(reading)
            predicted = time.perf_counter() - began
            explanations = explainer.explain(reading.columns, values, self.deadline)
            body, media, headers = self.rows.write_explained(values, explanations)
        except Exception as error:
            return self._failed(self.rows, error)
        return Answer(200, body, media, headers, "", reading.columns, values, predicted)

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
    folder = Path(os.environ.get(BUNDLE) or Path(__file__).resolve().parents[3] / "bundle")
    bundle = open_bundle(folder)
    number = os.environ.get(RELEASE)
    predictor, pace = _fastest(bundle)
    name = os.environ.get(NAME) or bundle.manifest.name
    served = Served(name, int(number) if number else None, predictor.contract)
    batching = bundle.manifest.batching  # measured when it was packaged; an older bundle has none
    batch = batching.rows if batching else 1
    explainer = Explainer.of(bundle, max(1, available_cpus() - 1))  # one is left for predictions
    answerer = Answerer(predictor, served, pace, bundle.sample, batch=batch, explainer=explainer)
    if bundle.reference is not None:
        drift = Drift(bundle.reference, served.contract, served.name, served.release)
        answerer.watcher = drift
        answerer.metrics.add(drift)
    return answerer


def _fastest(bundle: Bundle) -> tuple[Predictor, Pace]:
    """Load with one thread where a row is predicted faster than others could be woken, else with all."""
    if bundle.contract.decoding is not None:
        predictor = Predictor.of(bundle, available_cpus())
        began = time.perf_counter()
        predictor.predict_rows(bundle.sample[:1])
        taken = time.perf_counter() - began
        return predictor, Pace(taken, taken)
    for threads in (1, available_cpus()) if bundle.manifest.runtime == "onnx" else (available_cpus(),):
        predictor = Predictor.of(bundle, threads)
        pace = _warm_up(predictor, bundle.sample)
        if pace.one <= INLINE_SECONDS:
            break
    return predictor, pace


def _warm_up(predictor: Predictor, rows: list[object]) -> Pace:
    """How fast it is once it is warm: of a few predictions the fastest, the others waited for something else."""

    def seconds(rows: list[object]) -> float:
        taken: list[float] = []
        while len(taken) < WARM and sum(taken) < ENOUGH:
            started = time.perf_counter()
            predictor.predict_rows(rows)
            taken.append(time.perf_counter() - started)
        return min(taken)

    together = seconds(rows) / len(rows)
    return Pace(seconds(rows[:1]), together)


def _quick_bytes(pace: Pace, sample: list[Any]) -> int:
    """Requests of fewer bytes are quick: none where one row takes too long, else at least one row in JSON."""
    if pace.one > INLINE_SECONDS:
        return 0
    row = len(json.dumps({"rows": sample[:1]}))
    rows = 1 + (INLINE_SECONDS - pace.one) / max(pace.row, 1e-6)
    return max(2 * row, min(INLINE_BYTES, int(rows * row / BINARY)))


def _label(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _silent(error: Exception) -> tuple[type[Exception], Exception, Any]:
    return RuntimeError, RuntimeError("(its message is left out)"), error.__traceback__
