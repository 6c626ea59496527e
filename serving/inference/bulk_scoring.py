"""Many rows, chunk by chunk, to predictions in order: several chunks in flight, and never more than a few held.

Who answers is either an endpoint or a loaded bundle; both take rows as a request has them, so both refuse
the same rows in the same words.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.serving.deployment.client import Client
from tidegate.serving.errors import ClientError, ContractError, ScoringError, ServingError

IN_FLIGHT = 4  # requests at a time
BUSY = (429, 503)
PATIENCE = 60.0  # seconds in which an endpoint that is busy is asked again
MOST_ROWS = 1000  # in one request
MOST_NUMBERS = 500_000  # in one request, about 10 MB of JSON


@dataclass(frozen=True)
class Answered:
    """Predictions of some rows, and the endpoint's name and release that gave them."""

    model: str
    release: int | None
    predictions: list[Any]


@dataclass(frozen=True)
class Scored(Answered):
    """The same, with the position of the first row, counted from 0."""

    start: int


Ask = Callable[[list[Any]], Answered]


def chunk_rows(contract: dict[str, Any]) -> int:
    """How many rows to send at once, so that a request stays small whatever a row holds.

    Args:
        contract: as `GET /contract` gives it.
    """
    if contract.get("most_rows"):  # of texts, which take long
        return int(contract["most_rows"])
    numbers = 0
    for entry in contract["inputs"]:
        size = 1
        for length in entry["shape"]:
            size *= length
        numbers += size
    return max(1, min(MOST_ROWS, MOST_NUMBERS // max(numbers, 1)))


class OnlineAsk:
    """Asks an endpoint, over one connection a thread.

    A busy endpoint is asked again for a minute; a chunk that is too large for it is asked in halves.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url, self._key = url, key
        self._own, self._clients = threading.local(), list[Client]()

    def __call__(self, rows: list[Any]) -> Answered:
        """Ask; raises ClientError."""
        # infra.system.backoff does this too, but serving may not import infra.
        deadline, pause = time.monotonic() + PATIENCE, 0.05
        while True:
            try:
                (answer,) = self._client().answers(rows, max(len(rows), 1))
                return Answered(answer["model"], answer["release"], answer["predictions"])
            except ClientError as error:
                if error.status == 413 and len(rows) > 1:
                    return self._halves(rows)
                if error.status not in BUSY or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.close()

    def _client(self) -> Client:
        if not hasattr(self._own, "client"):
            self._own.client = Client(self._url, PATIENCE, self._key)
            self._clients.append(self._own.client)
        client: Client = self._own.client
        return client

    def _halves(self, rows: list[Any]) -> Answered:
        middle = len(rows) // 2
        first = self(rows[:middle])
        try:
            second = self(rows[middle:])
        except ClientError as error:
            raise _moved(error, middle) from error
        return Answered(second.model, second.release, first.predictions + second.predictions)


def offline_ask(folder: Path, name: str | None, release: int | None) -> tuple[Ask, dict[str, Any]]:
    """Load a bundle to predict with in this process; return who answers, and the contract.

    Args:
        folder: the bundle's.
        name: the endpoint's; None for the bundle's own.
        release: the release's number, if it has one.

    Raises:
        BundleError, ModelLoadError: the bundle is damaged or cannot be loaded here.
    """
    from tidegate.serving.bundle.bundle import (
        open_bundle,  # here, because NumPy is not needed to ask an endpoint
    )
    from tidegate.serving.inference.predictor import Predictor

    bundle = open_bundle(folder)
    predictor = Predictor.of(bundle)
    model = name or bundle.manifest.name

    def ask(rows: list[Any]) -> Answered:
        return Answered(model, release, list(predictor.predict_rows(rows)))

    return ask, bundle.contract.model_dump(mode="json")


def score(chunks: Iterable[list[Any]], ask: Ask, in_flight: int = IN_FLIGHT) -> Iterator[Scored]:
    """Predict chunk after chunk; answers come in the order of the rows.

    Args:
        chunks: rows as a request has them; taken only as fast as answers are taken.
        ask: who predicts; called from several threads.
        in_flight: chunks that are asked at a time; as many more wait for their turn.

    Raises:
        ScoringError: naming the rows of the chunk that failed; later chunks are not asked.
    """
    waiting: deque[tuple[int, int, Future[Answered]]] = deque()
    start = 0
    pool = ThreadPoolExecutor(in_flight, "score")
    try:
        for rows in chunks:
            waiting.append((start, len(rows), pool.submit(ask, rows)))
            start += len(rows)
            if len(waiting) >= 2 * in_flight:
                yield _finished(*waiting.popleft())
        if start == 0:
            waiting.append((0, 0, pool.submit(ask, [])))  # to be told what is expected
        while waiting:
            yield _finished(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(start: int, count: int, future: "Future[Answered]") -> Scored:
    try:
        answered = future.result()
    except ServingError as error:
        where = f"rows {start} to {start + count - 1} (counted from 0)" if count else "no rows"
        raise ScoringError(f"{where}: {_moved(error, start)}") from error
    if len(answered.predictions) != count:
        raise ScoringError(
            f"rows {start} to {start + count - 1}: {len(answered.predictions)} predictions came for {count} "
            "rows; expected one a row; check what listens at that address"
        )
    return Scored(answered.model, answered.release, answered.predictions, start)


def _moved(error: ServingError, start: int) -> ServingError:
    """The same error with the row counted from the first row of all, not of its chunk."""
    if isinstance(error, ContractError) and error.row is not None:
        return ContractError(error.field, error.received, error.expected, error.fix, error.row + start)
    if not isinstance(error, ClientError) or not error.detail or error.detail.get("row") is None:
        return error
    moved = {**error.detail, "row": error.detail["row"] + start}
    told = ContractError(*(moved[key] for key in ("field", "received", "expected", "fix", "row")))
    return ClientError(f"{str(error).partition(': ')[0]}: {told}", error.status, moved)
