"""The second half of a promotion as a Job of the cluster: `python -m tidegate.pipelines.promotion.job`.

$TIDEGATE_RUN is the promotion's id; its document and the bundle are in the store.
"""

import sys

from tidegate.pipelines.driver.job import do_in_pod
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.promotion.putting_live import Outcome, put_live
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import DRIVER_LOG, Mirror
from tidegate.pipelines.state.promotions import find_promotion


def main() -> int:
    """Put it live; whoever follows reads the outcome."""
    return do_in_pod(_put_live, [DRIVER_LOG])


def _put_live(home: Home, mirror: Mirror) -> Outcome:
    promotion = find_promotion(home.store, mirror.run)
    if promotion is None:
        raise PipelineError(f"the store has no promotion {mirror.run}; expected its document; promote again")
    return put_live(home, promotion)


if __name__ == "__main__":
    sys.exit(main())
