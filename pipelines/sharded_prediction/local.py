"""Shards on this machine: one after the other in this process, with the model loaded once."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tidegate.pipelines.errors import OURS, error_message
from tidegate.pipelines.sharded_prediction.document import BatchPlan, ShardDone, ShardFailed
from tidegate.pipelines.sharded_prediction.inputs import InputReader
from tidegate.pipelines.sharded_prediction.output import fail
from tidegate.pipelines.sharded_prediction.place import OutputPlace
from tidegate.pipelines.sharded_prediction.shard import ShardRunner
from tidegate.serving.inference.bulk_scoring import Scorer

Told = Callable[[ShardDone | ShardFailed], None]


def run_here(
    plan: BatchPlan,
    place: OutputPlace,
    shards: Sequence[int],
    bundle: tuple[Scorer, dict[str, Any]],
    reader: Callable[[Path], InputReader],
    tell: Callable[[int], None],
    ended: Told,
) -> list[ShardFailed]:
    """Predict these shards; those that failed. One that fails keeps no other from being tried.

    Args:
        plan, place: what is predicted, and the output.
        shards: their numbers.
        bundle: its scorer and its contract.
        reader: gives the inputs, with a folder for copies.
        tell: called with the number of rows that were just predicted.
        ended: called with what has become of each shard.
    """
    failed: list[ShardFailed] = []
    with tempfile.TemporaryDirectory(prefix="tidegate-predict-") as folder:
        runner = ShardRunner(plan, place, reader(Path(folder)), *bundle, Path(folder), tell)
        for shard in shards:
            try:
                ended(runner.run(shard))
            except OURS as error:
                failed.append(fail(place, shard, error_message(error)))
                ended(failed[-1])
    return failed
