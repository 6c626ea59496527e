"""A release that has no traffic yet answers the newest rows that the live one recorded, a request each."""

import time
from collections.abc import Sequence
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
LEAST_ROWS = 50  # recorded ones from which a rule of the gate is applied: of fewer one row would decide


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
    recordings = Recordings(home, endpoint)
    recorded = (row for row in recordings.newest() if row["release"] == state.current)
    rows = [] if state.current is None else list(islice(recorded, MOST_ROWS))
    notes = [why_no_rule(state.current, dropped, len(rows)), recordings.left_out]
    found = Replayed(live=state.current)
    if rows and not dropped:
        found = _compared(candidate, rows, state.current, tolerance)
    if not notes[0]:
        found = found.model_copy(update={"against": tuple(reasons_against(criteria, found.metrics, {}))})
    found = found.model_copy(update={"note": "; ".join(filter(None, notes))})
    print(found.summary)
    return found


def why_no_rule(live: int | None, dropped: list[str], rows: int) -> str:
    """Why no rule is applied; "" where they are."""
    rules = "rules of the gate about it are not applied"
    if live is None:
        return f"nothing recorded is answered before the first release; {rules}"
    if dropped:
        return (
            f"what release {live} recorded lacks {', '.join(dropped)}, as serving.record.drop says, and cannot be "
            f"answered again; {rules}"
        )
    if not rows:
        return f"release {live} recorded nothing yet that could be answered again; {rules}"
    if rows < LEAST_ROWS:
        return f"{rows} recorded rows are fewer than the {LEAST_ROWS} that decide; {rules}"
    return ""


def _compared(candidate: Candidate, rows: list[Row], live: int | None, tolerance: float) -> Replayed:
    answers: list[Any] = []
    taken: list[float] = []
    refusals: list[str] = []
    with candidate.connect() as client:
        _ask(client, rows[0], [])  # connecting, and what a server does once, is not timed
        began = time.monotonic()
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
        refusals.append(told_of_refusal(error))
        return None
    return answer


def told_of_refusal(error: ClientError) -> str:
    """What is said of a refusal: it is kept and shown in plain text, so no value of a row, which the message quotes."""
    known = error.detail or {}
    kind, column = known.get("type"), known.get("field")
    return f"HTTP {error.status}{f' {kind}' if kind else ''}{f' at {column!r}' if column else ''}"
