"""Training that begins with an earlier run's weights, and the rows that this run may be scored on."""

import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.store import Store
from tidegate.models.errors import OptionsError
from tidegate.models.networks.fine_tuning import WarmStart
from tidegate.models.user_code.project import project_document
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.step_types.train import TrainInputs
from tidegate.pipelines.steps.comparison.learned_rows import FEWEST, too_few, unlearned
from tidegate.pipelines.steps.context import StepContext


def warm_start(inputs: TrainInputs, store: Store) -> WarmStart | None:
    """The weights to begin with; None: new ones.

    Args:
        inputs: of the train step.
        store: where they are.
    """
    earlier, fetch = inputs.start, store.fetch
    if earlier is None:
        return None
    transforms = json.loads(fetch(earlier.transforms).read_bytes())
    return WarmStart(earlier.run, fetch(earlier.keras), transforms, earlier.freeze, project_document())


def scored_rows(
    inputs: TrainInputs, context: StepContext, rows: int
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """The test rows that the run to begin with did not learn from, and what has to be told about them.

    Args:
        inputs: of the train step.
        context: of the train step.
        rows: number of test rows.

    Returns:
        bool (rows,), or None for all of them; sentences.

    Raises:
        OptionsError: they are too few.
    """
    start = inputs.start
    if start is None:
        return None, ()
    try:
        unseen = unlearned(context, inputs.prepared, start.run)
    except PipelineError as error:
        return None, (
            f"the test_ metrics may be too good: it cannot be checked which rows run {start.run}, with whose "
            f"weights training began, learned from, because {error}",
        )
    count = int(unseen.sum())
    if too_few(count, rows):
        raise OptionsError(
            f"'model.from' is {start.run!r}, which learned from all but {count} of {rows:,} test rows; expected at "
            f"least {FEWEST} that it did not learn from; add new rows, take data.split from that run's experiment, "
            "or begin with another run"
        )
    return (unseen if count < rows else None), tuple(_told(inputs, start.run, count, rows))


def _told(inputs: TrainInputs, run: str, count: int, rows: int) -> Iterator[str]:
    if count < rows:
        yield (
            f"the test_ metrics are of {count:,} of {rows:,} test rows; run {run}, with whose weights "
            "training began, learned from the others"
        )
    if inputs.content["data"]["split"].get("folds"):
        yield (
            f"the folds_ metrics are too good: run {run}, with whose weights training began, learned from "
            "rows of every fold"
        )
