"""The home with which a schedule's runs are looked at and started. Imports nothing heavy."""

from functools import lru_cache
from pathlib import Path

from tidegate.pipelines.scheduling.document import ScheduleState
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import target_in_pod


def home_of(home: Home, state: ScheduleState) -> Home:
    """The scheduler's own home, or on a cluster one of the target for which the schedule was set.

    Args:
        home: of the scheduler.
        state: the schedule.
    """
    return home if state.cluster is None else _home(home.path, state.cluster.target)


@lru_cache(maxsize=8)
def _home(path: Path, target: str) -> Home:
    """It is kept, as it has connections to the store and the API server."""
    return Home(path, target_in_pod(target))
