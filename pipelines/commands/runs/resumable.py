"""Whether `tidegate resume` can continue a run, so that nobody is advised to do what is then refused."""

from tidegate.pipelines.driver.kept_plan import plan_at
from tidegate.pipelines.errors import OURS
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.home import Home, RunRecord


def is_resumable(home: Home, record: RunRecord) -> bool:
    """Whether the experiment would be the same run today; on a cluster the plan is kept, so it always is."""
    if home.target is not None or plan_at(home.folder_of(record.run)).exists():
        return True
    try:
        experiment = validate(record.experiment, f"run {record.run}")
        return make_plan(experiment, gather(experiment, home)).run == record.run
    except (*OURS, OSError):
        return False


def true_advice(home: Home, record: RunRecord, reason: str) -> str:
    """A run's reason as it was recorded; the advice to resume it is replaced where that would be refused."""
    advice = f"`tidegate resume {record.run}` continues it"
    if advice not in reason or is_resumable(home, record):
        return reason
    why = "it cannot be resumed: its data, its model file, this code or a library has changed since"
    return reason.replace(advice, f"{why}; submit the experiment again")
