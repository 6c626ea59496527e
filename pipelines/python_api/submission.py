"""What starts a run: an experiment, or a trained model that is released."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, TypeAlias

from tidegate.pipelines.commands.release import release as release_model
from tidegate.pipelines.commands.submit import submit as submit_run
from tidegate.pipelines.python_api.documents import plain_document
from tidegate.pipelines.python_api.errors import UsageError, public
from tidegate.pipelines.python_api.runs import Folder, Run
from tidegate.pipelines.state.home import mlflow_of, open_home

Experiment: TypeAlias = str | PathLike[str] | Mapping[str, Any]
Settings: TypeAlias = Mapping[str, Any] | Sequence[str]


@public
def submit(
    experiment: Experiment,
    *,
    set: Settings = (),
    target: str = "local",
    home: Folder = None,
    message: str | None = None,
) -> Run:
    """Start an experiment and return at once; its driver is a process of its own, which outlives this one.

    Args:
        experiment: a path of an experiment file or of its folder, an example's name, or the experiment as a dict. Paths
            in a dict are relative to the current folder; a function of a module may stand for its reference.
        set: values by dotted key, or `key=value` texts, which replace those of the experiment.
        target: where work runs: local, or a name in targets.yaml.
        home: the state's folder; `$TIDEGATE_HOME` or `.tidegate` when not given.
        message: why, for the history.

    Raises:
        ExperimentError, UsageError: nothing was started.

    Example:
        >>> run = tidegate.submit("digits", set={"training.epochs": 5})
        >>> run.wait().metrics["test_accuracy"]
        0.9694
    """
    with mlflow_of(open_home(home, target)) as place:
        found = submit_run(place, source_of(experiment), settings_of(set), detach=True, message=message)
    return Run(place, found.data["run"])


@public
def release(
    model: str | PathLike[str],
    *,
    rows: str | PathLike[str],
    column: str | Sequence[str],
    endpoint: str,
    answers: str | PathLike[str] | None = None,
    set: Settings = (),
    target: str = "local",
    home: Folder = None,
    message: str | None = None,
) -> Run:
    """Prove, gate and deploy a trained model, and return at once, as `submit` does.

    Args:
        model: a .keras or .onnx file, a SavedModel's folder, or an address of MLflow, such as models:/churn@champion.
        rows: a file or folder of rows with the target, which prove and gate it.
        column: the column to predict, or several for a regression.
        endpoint: the endpoint's name.
        answers: a file with the model's answers to the rows, in their order; they prove a model of another framework.
        set, target, home, message: see `submit`.

    Raises:
        ExperimentError, UsageError: nothing was started.
    """
    columns = [column] if isinstance(column, str) else list(column)
    given = None if answers is None else fspath(answers)
    with mlflow_of(open_home(home, target)) as place:
        found = release_model(
            place,
            fspath(model),
            fspath(rows),
            columns,
            endpoint,
            given,
            settings_of(set),
            detach=True,
            message=message,
        )
    return Run(place, found.data["run"])


def source_of(experiment: Experiment) -> str | dict[str, Any]:
    """An experiment as the commands take it."""
    if isinstance(experiment, Mapping):
        return dict(plain_document(experiment))
    if isinstance(experiment, str | PathLike):
        return fspath(experiment)
    raise UsageError(
        f"the experiment is a {type(experiment).__name__}; expected a path, an example's name or a dict"
    )


def settings_of(given: Settings) -> dict[str, Any] | list[str]:
    """The settings as the commands take them."""
    if isinstance(given, Mapping):
        return {str(key): plain_document(value, str(key)) for key, value in given.items()}
    return [given] if isinstance(given, str) else list(given)
