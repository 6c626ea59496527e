"""release: a trained model to a live endpoint, without an experiment file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.pipelines.commands.submit import submit
from tidegate.pipelines.experiment.load import Overrides
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.home import Home

# Nothing is trained on the rows: half of them judge the model, the other half says how inputs are distributed.
SPLIT = {"validation": 0.0, "test": 0.5}


def release(
    home: Home,
    model: str,
    rows: str,
    columns: Sequence[str],
    endpoint: str,
    answers: str | None,
    overrides: Overrides,
    *,
    detach: bool = False,
    executor: str = "local",
    message: str | None = None,
) -> Result:
    """Prove, gate and deploy a trained model, as `submit` does for an experiment with `model.trained`.

    Args:
        home: where state is kept.
        model: a file, a folder or an address of MLflow, see `model.trained`.
        rows: a file or folder of rows with the target, which prove and gate it; or s3://…, gs://…, az://…
        columns: the column to predict, or several for a regression.
        endpoint: the endpoint's name, which is the experiment's too.
        answers: a file with the model's answers to the rows, see `model.answers`.
        overrides: `key=value` strings, or values by dotted key, of any key of an experiment.
        detach: leave the driver in the background and return at once.
        executor: "local" or "inline".
        message: why, for the history.

    Raises:
        ExperimentError, ModelsError: an argument is wrong.
        StepError: a step failed.
    """
    document: dict[str, Any] = {
        "name": endpoint,
        "description": f"{Path(model).name}, released as it is",
        "data": {"source": rows, "target": list(columns), "split": SPLIT},
        "model": {"trained": model, **({"answers": answers} if answers else {})},
        "serving": {"endpoint": endpoint},
    }
    return submit(home, document, overrides, detach=detach, executor=executor, message=message)
