"""A loaded release that answers: body in, body out, with nothing of HTTP but status codes."""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from serving.bundle import open_bundle
from serving.errors import ContractError, PredictionError
from serving.metrics import Metrics
from serving.predictor import Predictor
from serving.wire import decode, encode, error_body

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
        predictor: the loaded bundle.
        name: the endpoint's name.
        release: the release's number; None for a bento that is served by itself.
    """

    def __init__(self, predictor: Predictor, name: str, release: int | None) -> None:
        self.predictor, self.name, self.release = predictor, name, release
        self.metrics = Metrics(name, release)
        self.contract = predictor.contract.model_dump_json().encode()
        self.seconds = 0.0

    def warm_up(self, rows: list[object]) -> None:
        """Predict a few times: the first prediction of a runtime allocates; the last one is the measure."""
        for _ in range(3):
            started = time.perf_counter()
            self.predictor.predict_rows(rows)
            self.seconds = (time.perf_counter() - started) / len(rows)

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
    answerer = Answerer(
        Predictor.of(bundle), os.environ.get(NAME) or bundle.manifest.name, int(number) if number else None
    )
    answerer.warm_up(bundle.sample)
    return answerer
