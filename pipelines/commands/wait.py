"""wait: until a run has ended, whoever drives it."""

import sys
import time
from collections.abc import Callable

from tidegate.pipelines.commands.runs.summary import NOT_ENDED, REFUSED, run_result
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.ages import age_in_seconds
from tidegate.pipelines.state.home import UNDERWAY, Home, RunFolder, RunRecord
from tidegate.pipelines.state.mirror import refresh

POLL_S = 0.3
REMOTE_POLL_S = 2.0
EXIT_CODES = {"done": 0, "refused": REFUSED}


def wait(home: Home, run: str, *, timeout: str | None = None) -> Result:
    """Wait until a run has ended; the exit code is the run's, or 4 when it still runs after `timeout`.

    Ctrl-C ends the waiting only.

    Args:
        home: the home.
        run: the run's id, or an experiment's name for its newest run.
        timeout: such as 10m; None for ever.

    Raises:
        UnknownNameError: no such run.
        UsageError: the timeout cannot be read.
    """
    deadline = time.monotonic() + _seconds(timeout)
    refresh(home, run)
    folder = home.newest_run(run)
    try:
        ended = wait_for_end(home, folder, deadline, _Waiting())
    except KeyboardInterrupt:
        print(
            f"\nrun {folder.run} continues; `tidegate wait {folder.run}` waits for it again", file=sys.stderr
        )
        raise
    if not ended:
        status = folder.read().status
        more = (
            f"`tidegate approve {folder.run}` releases it"
            if status == "waiting"
            else f"`tidegate logs {folder.run} -f` follows it"
        )
        text = f"run {folder.run} is still {status} after {timeout}; {more}"
        return Result({"run": folder.run, "status": status}, text, NOT_ENDED)
    refresh(home, folder.run, "spool/*")
    result = run_result(home, folder)
    status, reason = result.data["status"], result.data["reason"]
    more = f"\n\n{reason}" if status in ("failed", "cancelled") else ""
    return Result(result.data, f"{result.text}{more}", EXIT_CODES.get(status, 1))


class _Waiting:
    """Says once that a run waits for people, to whoever waits for the run."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, record: RunRecord) -> None:
        if record.status == "waiting" and record.reason != self._said:
            self._said = record.reason
            print(f"run {record.run}: {record.reason}", file=sys.stderr, flush=True)


def wait_for_end(
    home: Home, folder: RunFolder, deadline: float, show: Callable[[RunRecord], object] = lambda _: None
) -> bool:
    """Wait; return whether the run has ended before the deadline.

    Args:
        home: the home.
        folder: the run's.
        deadline: a `time.monotonic()`.
        show: called with the run's record each time it was read.
    """
    while (record := folder.read()).status in UNDERWAY:
        show(record)
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, POLL_S if home.target is None else REMOTE_POLL_S))
        refresh(home, folder.run)
    return True


def _seconds(timeout: str | None) -> float:
    if timeout is None:
        return float("inf")
    seconds = age_in_seconds(timeout)
    if seconds is None:
        raise UsageError(f'--timeout is "{timeout}"; expected a time such as 30s, 10m or 2h')
    return seconds
