"""`python -m tidegate.pipelines.sharded_prediction.worker`: one shard, in a pod of an Indexed Job.

Exit codes: 0 done; 1 its rows or the input are wrong, which another try would not change, and the output says why; 75
anything else, such as a server that is away, a full disk or too little memory: another try may succeed, elsewhere.
"""

import argparse
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tidegate.infra.cluster.jobs import STEP_FAILED
from tidegate.infra.errors import InfraError
from tidegate.pipelines.errors import OURS, PipelineError, error_message
from tidegate.pipelines.sharded_prediction.document import PLAN, BatchPlan
from tidegate.pipelines.sharded_prediction.inputs import InputReader, no_endpoint
from tidegate.pipelines.sharded_prediction.output import complete, fail, parsed
from tidegate.pipelines.sharded_prediction.place import OutputPlace, open_place
from tidegate.pipelines.sharded_prediction.shard import ShardRunner
from tidegate.serving.inference.bulk_scoring import bundle_scorer

INDEX = "JOB_COMPLETION_INDEX"  # set by Kubernetes
FAILED, AGAIN = STEP_FAILED, os.EX_TEMPFAIL


def main(argv: Sequence[str] | None = None) -> int:
    """Predict the shard of this pod; the arguments are the process's own when None."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.pipelines.sharded_prediction.worker")
    parser.add_argument("--output", required=True, help="where the plan lies and the part goes")
    parser.add_argument("--bundle", required=True, type=Path, help="the bundle's folder")
    parser.add_argument("--shards", required=True, help="numbers, of which $JOB_COMPLETION_INDEX chooses one")
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _end)  # it is process 1 of its pod, which no signal ends by itself
    shard = [int(number) for number in given.shards.split(",")][int(os.environ[INDEX])]
    try:
        place = open_place(given.output)
        return _run(place, shard, given.bundle)
    except Exception as error:
        if not isinstance(error, OURS):
            traceback.print_exc()
        print(f"shard {shard}: {error_message(error)}", file=sys.stderr)
        return AGAIN


def _run(place: OutputPlace, shard: int, bundle: Path) -> int:
    try:
        plan = _plan(place)
        scorer, contract = bundle_scorer(bundle, plan.model, plan.release)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            reader = InputReader(work, no_endpoint)
            done = ShardRunner(plan, place, reader, scorer, contract, work, _nobody).run(shard)
        print(f"shard {shard}: {done.rows} rows in {done.part}", file=sys.stderr)
        complete(place, plan)
        return 0
    except InfraError:
        raise
    except OURS as error:
        failed = fail(place, shard, error_message(error))
        print(f"shard {shard}: {failed.message}", file=sys.stderr)
        return FAILED


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def _nobody(_rows: int) -> None:
    """Nobody looks at the rows one by one."""


def _plan(place: OutputPlace) -> BatchPlan:
    text = place.read(PLAN)
    if text is None:
        raise PipelineError(f"{place.url} has no {PLAN}; expected a prediction that has begun; give it again")
    return parsed(place, text)


if __name__ == "__main__":
    sys.exit(main())
