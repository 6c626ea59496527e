"""What people have said of a run decides whether it can be begun again, or gone on with."""

import time

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.history.record import settle_request
from tidegate.pipelines.state.approvals import find_request, withdraw
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.state.mirror import known_run


def refusal(home: Home, run: RunRecord) -> str:
    """By whom a run was refused, and why, in a sentence; "" where no person refused it."""
    request, now = find_request(home.store, run.run) if run.status == "refused" else None, time.time()
    return "" if request is None or request.verdict(now) != "refused" else request.sentence(now)


def ask_anew(home: Home, run: str) -> None:
    """What a person refused is asked anew when it is submitted again."""
    known = known_run(home, run)
    if known is not None and refusal(home, known):
        settle_request(home.store, run)
        withdraw(home.store, run)


def require_not_refused(home: Home, run: str) -> None:
    """What a person refused stays so; raises UsageError."""
    known = known_run(home, run)
    if known is not None and (said := refusal(home, known)):
        raise UsageError(
            f"run {run} was {said}; expected one that can go on; submit the experiment again, "
            "and people are asked anew"
        )


def require_waiting(record: RunRecord) -> None:
    """An approver goes on only with what was not cancelled meanwhile; raises UsageError."""
    if record.status == "cancelled":
        raise UsageError(
            f"run {record.run} was cancelled meanwhile, and is not gone on with; expected one that waits; submit the "
            "experiment again, and people are asked anew"
        )
