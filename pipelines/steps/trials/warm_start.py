"""Training that begins with an earlier run's weights, and the rows that this run may be scored on."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import OptionsError
from tidegate.models.networks.fine_tuning import WarmStart
from tidegate.models.user_code.project import project_document
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.planning.kept_data import lay_out_file
from tidegate.pipelines.step_types.train import TrainInputs, WarmStartInputs
from tidegate.pipelines.steps.comparison.learned_rows import FEWEST, too_few, unlearned
from tidegate.pipelines.steps.context import StepContext
from tidegate.serving.untrusted import check_model, refusal
from tidegate.serving.untrusted.keras_weights import fault_in_weights


def warm_start(inputs: TrainInputs, context: StepContext) -> WarmStart | None:
    """The weights to begin with; None: new ones.

    Args:
        inputs: of the train step.
        context: of the train step.
    """
    earlier, store = inputs.start, context.store
    if earlier is None:
        return None
    path, code = store.fetch(earlier.keras), project_document()
    if earlier.foreign:
        _check(path, earlier, code)
        path = lay_out_file(store, earlier.keras, context.work)
    transforms = json.loads(store.fetch(earlier.transforms).read_bytes()) if earlier.transforms else None
    return WarmStart(earlier.run, path, transforms, earlier.freeze, code)


def _check(path: Path, start: WarmStartInputs, code: Path | None) -> None:
    """Refuse a file of others that could do more than give weights, before Keras reads it.

    Raises:
        UntrustedModelError: says what it holds.
    """
    if path.suffix == ".keras":
        check_model("tensorflow", path, code)
    elif (fault := fault_in_weights(path.read_bytes())) is not None:
        raise refusal(Path(start.run), *fault)


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
    if start.foreign:
        return None, (
            f"the test_ metrics may be too good: which rows {start.run} learned from, with whose weights training "
            "began, is not known",
        )
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
