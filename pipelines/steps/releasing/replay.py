"""A release that has no traffic yet answers the newest rows that the live one recorded, a request each."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tidegate.pipelines.experiment.gate import Criterion, reasons_against
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.recordings.agreement import agreements
from tidegate.pipelines.recordings.places import folder_of
from tidegate.pipelines.recordings.reading import Recordings, Row
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.replay import Replayed
from tidegate.pipelines.steps.releasing.proof import Candidate
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.release import load
from tidegate.serving.errors import ClientError
from tidegate.serving.recording.settings import Record

MOST_ROWS, MOST_SECONDS = 1000, 30.0


def replay(home: Home, endpoint: str, number: int, criteria: Sequence[Criterion]) -> Replayed | None:
    """Ask a release what the live one was asked, and compare the answers.

    Args:
        home: of the endpoint.
        endpoint: its name.
        number: the release's.
        criteria: what the gate asks of it; they do not hold while there is nothing to ask.

    Returns:
        What was found; None where nothing is recorded and the gate asks for nothing, or the release is live already.

    Raises:
        RecordingError: recorded rows cannot be read.
        ClientError: the server does not answer at all.
    """
    state = load(home.store, endpoint)
    if state.current == number or not (criteria or folder_of(home, endpoint).is_dir()):
        return None
    before = Serving.model_validate(
        {} if state.current is None else state.release(state.current).serving
    ).record
    settings = Serving.model_validate(state.release(number).serving).record or before
    tolerance = Record.model_validate({} if settings is None else settings.model_dump()).tolerance
    candidate = Candidate(home, endpoint, number)
    inputs = [field.name for field in candidate.bundle.contract.inputs]
    dropped = [name for name in (before.drop if before else ()) if name in inputs]
    rows = list(islice(_recorded_by(home, endpoint, state.current), MOST_ROWS))
    if not rows or dropped:
        found = Replayed(live=state.current, note=_note(state.current, dropped))
    else:
        found = _compared(candidate, rows, state.current, tolerance)
        found = found.model_copy(update={"against": tuple(reasons_against(criteria, found.metrics, {}))})
    print(found.summary)
    return found


def _recorded_by(home: Home, endpoint: str, release: int | None) -> Iterator[Row]:
    return (row for row in Recordings(home, endpoint).newest() if row["release"] == release)


def _note(live: int | None, dropped: list[str]) -> str:
    """Why no row is asked."""
    rules = "rules of the gate about it are not applied"
    if live is None:
        return f"nothing recorded is answered before the first release; {rules}"
    if dropped:
        return (
            f"what release {live} recorded lacks {', '.join(dropped)}, as serving.record.drop says, and cannot be "
            f"answered again; {rules}"
        )
    return f"release {live} recorded nothing yet that could be answered again; {rules}"


def _compared(candidate: Candidate, rows: list[Row], live: int | None, tolerance: float) -> Replayed:
    answers: list[Any] = []
    taken: list[float] = []
    refusals: list[str] = []
    began = time.monotonic()
    with candidate.connect() as client:
        for row in rows:
            sent = time.perf_counter()
            answer = _ask(client, row, refusals)
            taken.append(time.perf_counter() - sent)
            answers.append(answer)
            if time.monotonic() - began > MOST_SECONDS:
                break
    asked = [row["answer"] for row in rows[: len(answers)]]
    agreed = agreements(candidate.bundle.contract.target_, asked, answers, tolerance)
    return Replayed(
        live=live,
        rows=len(answers),
        agreed=sum(agreed),
        refused=len(refusals),
        first_refused=refusals[0] if refusals else "",
        p99_ms=1000 * float(np.percentile(taken, 99)),
        seconds=time.monotonic() - began,
    )


def _ask(client: Client, row: Row, refusals: list[str]) -> Any:
    """The answer to one row; None where it is refused, which is then told."""
    try:
        (answer,) = client.predict([row["row"]])
    except ClientError as error:
        if error.status is None:
            raise
        refusals.append(str(error))
        return None
    return answer
