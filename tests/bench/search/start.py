"""What a trial's process adds: from its fork to its first epoch, over the same epoch where all has run once.

`python -m tests.bench.search.start HOME RUN STEP PARAMS` is the process in which all has run once.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from tests.bench.search.runs import Searched, forget, search, timed
from tidegate.infra.mlflow.spool import events
from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.experiment.dotted import with_values
from tidegate.pipelines.state.home import home_at
from tidegate.pipelines.step_types.train import TrainInputs

TRIALS = 6
TRAININGS = 4


def row(folder: Path, turns: int) -> str:
    """The median trial of a search, but for the first, for which the fork server imports TensorFlow."""
    added, alone = [], []
    for turn in range(turns):
        ours = search(
            folder / f"start-{turn}",
            "digits-search",
            search__trials=TRIALS,
            search__parallelism=1,
            search__pruning=None,
        )
        started = [_to_first_epoch(ours, trial["id"]) for trial in ours.answer["trials"][1:]]
        last = ours.answer["trials"][-1]
        argv = [sys.executable, "-m", "tests.bench.search.start", str(ours.home), ours.answer["run"]]
        printed = timed([*argv, last["id"], json.dumps(last["params"])], Path(__file__).parents[3])[2]
        alone.append(json.loads(printed.splitlines()[-1]))
        added.append(statistics.median(started) - alone[-1])
        forget(ours)
    return (
        f"| from a trial's fork to its first epoch | {statistics.median(added) + statistics.median(alone):.2f} s | the "
        f"same model, graph and epoch in a process that has trained before {statistics.median(alone):.2f} s | "
        f"+{statistics.median(added):.2f} s | <= 0.3 s |"
    )


def _to_first_epoch(searched: Searched, trial: str) -> float:
    """Seconds from the moment at which the driver had written the step's call, to the event of the first epoch."""
    home, run = home_at(searched.home), searched.answer["run"]
    first = next(event for event in events(home.spool / run, trial) if event["id"] == "epoch-0")
    return float(first["t"]) / 1000 - home.folder_of(run).call(trial).stat().st_mtime


def first_epochs(home_folder: Path, run: str, step: str, params: dict[str, object]) -> list[float]:
    """Seconds of building, compiling and the first epoch, again and again in this process."""
    from tidegate.models.distributed.devices import configure_backend
    from tidegate.models.networks.keras_import import import_keras
    from tidegate.models.training.recipe import Recipe
    from tidegate.pipelines.steps.data_contract import read_contract
    from tidegate.pipelines.steps.trials.trial_rows import TrialRows

    home = home_at(home_folder)
    inputs = StepCall.model_validate_json(home.folder_of(run).call(step).read_bytes()).inputs
    assert isinstance(inputs, TrainInputs)
    chosen = with_values({"model": inputs.model, "training": inputs.training}, params)
    configure_backend("tensorflow")
    import_keras()
    schema, transforms = read_contract(inputs.prepared, home.store)
    rows = TrialRows(home.store, inputs.prepared, schema, transforms)
    seed = chosen["training"].pop("seed")
    recipe = Recipe(chosen["model"], chosen["training"], schema.target, seed)
    train, validation = rows.encoded("train"), rows.encoded("validation")
    spent = []
    for _ in range(TRAININGS):
        ends: list[float] = []
        began = time.perf_counter()
        recipe.train(
            transforms,
            train,
            validation,
            on_epoch=lambda *_, ends=ends: ends.append(time.perf_counter()),
        )
        spent.append(ends[0] - began)
    return spent[1:]


if __name__ == "__main__":
    print(
        statistics.median(first_epochs(Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4])))
    )
