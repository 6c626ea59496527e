"""Ends a run that nobody approved in time: `python -m tidegate.pipelines.commands.schedules.late`.

It counts as refused from that moment on, whoever looks at it. This tells it to MLflow and to those whom the experiment
names.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tidegate.pipelines.commands.submit import plan_again
from tidegate.pipelines.driver.driver import Driver
from tidegate.pipelines.state.approvals import TOO_LATE
from tidegate.pipelines.state.home import Home, home_at


def end_late(home: Home, run: str) -> None:
    """Write down that it is refused, unless somebody has gone on with it."""
    folder = home.run_folder(run)
    with Driver.exclusive(home, folder) as driver:
        record = folder.read()
        if record.status == "refused" and record.until is not None:
            driver.give_up(plan_again(home, folder), "refused", TOO_LATE)


def main(argv: Sequence[str] | None = None) -> int:
    """End one run.

    Args:
        argv: `--home DIR --run RUN`; default: the arguments of the process.
    """
    parser = argparse.ArgumentParser(prog="tidegate.pipelines.commands.schedules.late", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--run", required=True)
    given = parser.parse_args(argv)
    end_late(home_at(given.home), given.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
