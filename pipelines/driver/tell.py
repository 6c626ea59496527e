"""Sends what waits in a store, in a pod that has the secret for it: `python -m tidegate.pipelines.driver.tell`.

The scheduler of the cluster starts it: what a schedule tells must not wait for the next run's driver.
"""

import os
import sys
from pathlib import Path

from tidegate.pipelines.driver.notifications import deliver
from tidegate.pipelines.state.home import home_at

PATIENCE_S = 60.0


def main() -> int:
    """Send it; what is not taken stays in the store."""
    for problem in deliver(home_at(Path(os.environ["TIDEGATE_HOME"]), pod=True), PATIENCE_S):
        print(problem, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
