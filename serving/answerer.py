"""A loaded release that answers: body in, body out, with nothing of HTTP but status codes."""

import logging
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from serving.bundle import Bundle, open_bundle
from serving.errors import ContractError, PredictionError
from serving.metrics import Metrics
from serving.predictor import Predictor
from serving.runtimes import available_cpus
from serving.wire import decode, encode, error_body

LOG = logging.getLogger(__name__)
BUNDLE, NAME, RELEASE = "TIDEGATE_BUNDLE", "TIDEGATE_NAME", "TIDEGATE_RELEASE"
INLINE_SECONDS = 0.002  # a prediction that takes longer leaves the event loop to a thread


@dataclass(frozen=True)
class Answer:
    """Status, JSON body and, for a prediction, the number of rows."""

    status: int
    body: bytes
    rows: int = 0


class Answerer:
    """Answers `/predict` bodies for one release.

    Args:
        predictor: the loaded bundle, warmed up.
        name: the endpoint's name.
        release: the release's number; None for a bento that is served by itself.
        seconds: how long it takes to predict one row.
        sample: rows as a request has them, for the OpenAPI page's example.
    """

    def __init__(
        self, predictor: Predictor, name: str, release: int | None, seconds: float, sample: list[Any]
    ) -> None:
        self.predictor, self.name, self.release, self.seconds = predictor, name, release, seconds
        self.sample = sample
        self.metrics = Metrics(name, release)
        self.contract = predictor.contract.model_dump_json().encode()

    def answer(self, body: bytes) -> Answer:
        """Answer one request body; every fault of the request is an answer too."""
        try:
            content = decode(body)
        except ContractError as error:
            return Answer(400, error_body("contract", str(error), error.detail()))
        return self.answer_content(content)

    def answer_content(self, content: object) -> Answer:
        """Answer one request body that is parsed already."""
        try:
            columns = self.predictor.contract.parse_request(content)
            values = self.predictor.predict_columns(columns)
        except ContractError as error:
            return Answer(400, error_body("contract", str(error), error.detail()))
        except PredictionError as error:
            return Answer(500, error_body("prediction", str(error)))
        except Exception:  # whatever a runtime raises, the client gets JSON and the log the traceback
            LOG.exception("a prediction failed")
            return Answer(500, error_body("internal", "the prediction failed; see the endpoint's log"))
        predictions = self.predictor.contract.predictions(values)
        answer = {"model": self.name, "release": self.release, "predictions": predictions}
        return Answer(200, encode(answer), len(predictions))

    def is_quick(self, size: int) -> bool:
        """Whether a body of `size` bytes is answered faster than a thread could be asked."""
        return size <= 16384 and self.seconds <= INLINE_SECONDS


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
    return Answerer(predictor, name, int(number) if number else None, seconds, bundle.sample)


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
