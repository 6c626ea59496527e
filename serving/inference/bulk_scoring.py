"""Bulk scoring: many rows, chunk by chunk, to predictions in order, with several chunks in flight and few in memory.

They are predicted by an endpoint or by a loaded bundle. Both take rows as in a request, so both reject the same rows
with the same errors.
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
from tidegate.serving.deployment.connections import Trust
from tidegate.serving.errors import ClientError, ContractError, ScoringError, ServingError

IN_FLIGHT = 4  # requests at a time
OFFLINE_THREADS = 2  # without a server: one parses and writes rows while the model runs in the other
BUSY = (429, 503)  # HTTP statuses after which a request is sent again
RETRY_SECONDS = 60.0  # during which requests to a busy endpoint are sent again
MAX_ROWS = 1000  # in one request
MAX_NUMBERS = 500_000  # in one request, about 10 MB of JSON


@dataclass(frozen=True)
class ScoredRows:
    """Predictions for some rows, and the name and release of the endpoint that made them."""

    model: str
    release: int | None
    predictions: list[Any]


@dataclass(frozen=True)
class ScoredChunk(ScoredRows):
    """The same, with the position of the first row, counted from 0."""

    start: int


Scorer = Callable[[list[Any]], ScoredRows]


def chunk_rows(contract: dict[str, Any]) -> int:
    """How many rows to send in one request, so that it stays small whatever a row holds.

    Args:
        contract: as `GET /contract` returns it.
    """
    if contract.get("most_rows"):  # of texts, which take long
        return int(contract["most_rows"])
    numbers = 0
    for entry in contract["inputs"]:
        size = 1
        for length in entry["shape"]:
            size *= length
        numbers += size
    return max(1, min(MAX_ROWS, MAX_NUMBERS // max(numbers, 1)))


class EndpointScorer:
    """Sends rows to an endpoint, over one connection per thread.

    While the endpoint is busy, a chunk is sent again for up to a minute; a chunk that is too large is sent in halves.
    """

    def __init__(self, url: str, key: str | None = None, trust: Trust | None = None) -> None:
        self._url, self._key, self._trust = url, key, trust
        self._own, self._clients = threading.local(), list[Client]()

    def __call__(self, rows: list[Any]) -> ScoredRows:
        """Predict the rows; raises ClientError."""
        # infra.system.backoff does this too, but serving may not import infra.
        deadline, pause = time.monotonic() + RETRY_SECONDS, 0.05
        while True:
            try:
                (answer,) = self._client().responses(rows, max(len(rows), 1))
                return ScoredRows(answer["model"], answer["release"], answer["predictions"])
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
            self._own.client = Client(self._url, RETRY_SECONDS, self._key, trust=self._trust)
            self._clients.append(self._own.client)
        client: Client = self._own.client
        return client

    def _halves(self, rows: list[Any]) -> ScoredRows:
        middle = len(rows) // 2
        first = self(rows[:middle])
        try:
            second = self(rows[middle:])
        except ClientError as error:
            raise _with_row_offset(error, middle) from error
        return ScoredRows(second.model, second.release, first.predictions + second.predictions)


def bundle_scorer(folder: Path, name: str | None, release: int | None) -> tuple[Scorer, dict[str, Any]]:
    """Load a bundle to predict with in this process; return its scorer, and the contract.

    Args:
        folder: of the bundle.
        name: the endpoint's; None for the bundle's own.
        release: the release's number, if it has one.

    Raises:
        BundleError, ModelLoadError: the bundle is damaged or cannot be loaded here.
    """
    # Imported here, because scoring by an endpoint does not need NumPy.
    from tidegate.serving.bundle.bundle import open_bundle
    from tidegate.serving.inference.predictor import Predictor

    bundle = open_bundle(folder)
    predictor = Predictor.of(bundle)
    model = name or bundle.manifest.name

    def scorer(rows: list[Any]) -> ScoredRows:
        return ScoredRows(model, release, list(predictor.predict_rows(rows)))

    return scorer, bundle.contract.model_dump(mode="json")


def score(
    chunks: Iterable[list[Any]], scorer: Scorer, in_flight: int = IN_FLIGHT, first: int = 0
) -> Iterator[ScoredChunk]:
    """Predict chunk after chunk; predictions come in the order of the rows.

    Args:
        chunks: rows as in a request; consumed only as fast as the predictions are consumed.
        scorer: predicts a chunk; called from several threads.
        in_flight: chunks that are predicted at a time; as many more wait for their turn.
        first: number of the first row, from which the others count.

    Raises:
        ScoringError: naming the rows of the chunk that failed; later chunks are not predicted.
    """
    waiting: deque[tuple[int, int, Future[ScoredRows]]] = deque()
    start = first
    pool = ThreadPoolExecutor(in_flight, "score")
    try:
        for rows in chunks:
            waiting.append((start, len(rows), pool.submit(scorer, rows)))
            start += len(rows)
            if len(waiting) >= 2 * in_flight:
                yield _result(*waiting.popleft())
        if start == first:
            waiting.append((first, 0, pool.submit(scorer, [])))  # its error says what is expected
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _result(start: int, count: int, future: "Future[ScoredRows]") -> ScoredChunk:
    try:
        answered = future.result()
    except ServingError as error:
        where = f"rows {start} to {start + count - 1} (counted from 0)" if count else "no rows"
        raise ScoringError(f"{where}: {_with_row_offset(error, start)}") from error
    if len(answered.predictions) != count:
        raise ScoringError(
            f"rows {start} to {start + count - 1}: {len(answered.predictions)} predictions came for {count} "
            "rows; expected one per row; check what listens at that address"
        )
    return ScoredChunk(answered.model, answered.release, answered.predictions, start)


def _with_row_offset(error: ServingError, start: int) -> ServingError:
    """The same error with the row counted from the first row of all chunks, not of its own."""
    if isinstance(error, ContractError) and error.row is not None:
        return ContractError(error.field, error.received, error.expected, error.fix, error.row + start)
    if not isinstance(error, ClientError) or not error.detail or error.detail.get("row") is None:
        return error
    moved = {**error.detail, "row": error.detail["row"] + start}
    contract_error = ContractError(*(moved[key] for key in ("field", "received", "expected", "fix", "row")))
    return ClientError(f"{str(error).partition(': ')[0]}: {contract_error}", error.status, moved)
