"""What is looked at without a run of one's own: a plan, a comparison, the target, MLflow's address."""

from tidegate.pipelines.commands.plan import plan as plan_run
from tidegate.pipelines.commands.runs.compare import compare as compare_runs
from tidegate.pipelines.commands.workspace import check as check_target
from tidegate.pipelines.commands.workspace import ui as start_ui
from tidegate.pipelines.python_api.errors import UsageError, public
from tidegate.pipelines.python_api.results import Checked, Comparison, Planned
from tidegate.pipelines.python_api.runs import Folder, Run, home_of
from tidegate.pipelines.python_api.submission import Experiment, Settings, settings_of, source_of
from tidegate.pipelines.state.home import mlflow_of, open_home


@public
def plan(
    experiment: Experiment, *, set: Settings = (), target: str = "local", home: Folder = None
) -> Planned:
    """What `submit` would do: its steps, what of them is cached, and what differs from what is live.

    Args:
        experiment, set, target, home: see `submit`.

    Raises:
        ExperimentError, UsageError: what `submit` would raise.
    """
    with mlflow_of(open_home(home, target)) as place:
        return Planned.of(plan_run(place, source_of(experiment), settings_of(set)))


@public
def compare(*runs: Run | str, target: str = "local", home: Folder = None) -> Comparison:
    """What differs between runs: parameters, metrics and data; of one run with a search, between its trials.

    Args:
        runs: runs, their ids, or experiments' names for their newest runs.
        target, home: see `submit`; where runs are given, theirs.

    Raises:
        UnknownNameError: no such run.
        UsageError: one run with one trial only.
    """
    if not runs:
        raise UsageError("compare received no run; expected several, or one with a search")
    own = next((home_of(one) for one in runs if isinstance(one, Run)), None)
    with mlflow_of(own or open_home(home, target)) as place:
        return Comparison.of(compare_runs(place, [one.id if isinstance(one, Run) else one for one in runs]))


@public
def check(*, target: str = "local", home: Folder = None) -> list[Checked]:
    """Whether a target is ready, item by item; `fix` says what to do. `target`, `home`: see `submit`."""
    with mlflow_of(open_home(home, target)) as place:
        return [Checked.model_validate(item) for item in check_target(place).data]


@public
def ui(*, target: str = "local", home: Folder = None) -> str:
    """The address of the MLflow UI, which is started when it does not run. `target`, `home`: see `submit`."""
    with mlflow_of(open_home(home, target)) as place:
        return start_ui(place, quiet=True).text
