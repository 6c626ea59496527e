"""Delete runs: their records, what MLflow has of them, and the step results that no other run names."""

import contextlib
from collections.abc import Sequence

from tidegate.infra.errors import InfraError
from tidegate.infra.system.locks import is_held
from tidegate.pipelines.driver.mlflow_deletion import delete_in_mlflow, known_in_mlflow
from tidegate.pipelines.history.record import record as record_event
from tidegate.pipelines.state.approvals import withdraw
from tidegate.pipelines.state.garbage_collection import collect_garbage, needed_digests, releases_of
from tidegate.pipelines.state.home import RUNNING, UNDERWAY, Home, RunRecord
from tidegate.pipelines.state.mirror import RECORD, Mirror, refresh
from tidegate.pipelines.state.removed import Removed, remove_folder

USED = {"live": "is live", "retired": "`tidegate rollback` can serve again", "pending": "is being deployed"}


def why_kept(home: Home, record: RunRecord) -> str:
    """Why a run cannot be deleted now, and what to do first; "" if it can."""
    if record.status in UNDERWAY or is_held(home.folder_of(record.run).lock):
        return f"it is {record.status}; `tidegate cancel {record.run}` stops it, or wait for its end"
    for release in releases_of(home):
        if release.run == record.run and release.state in USED:
            what = f'it is release {release.number} of endpoint "{release.endpoint}", which {USED[release.state]}'
            return f"{what}; delete the endpoint first, or keep the run"
    return ""


def delete_runs(
    home: Home, records: Sequence[RunRecord], message: str | None = None
) -> tuple[Removed, list[str]]:
    """Delete runs that nothing needs; results that other runs share stay. `message` says why, for the history.

    Returns:
        What was removed, and sentences about what could not be done.
    """
    removed, notes = Removed(), []
    before = needed_digests(home)
    alone = not any(folder.read().status in RUNNING for folder in home.run_folders())
    for record in records:
        refresh(home, record.run, "spool/*")
        known = known_in_mlflow(home, record.run)
        record_event(
            home,
            "deleted",
            endpoint=record.endpoint,
            run=record.run,
            reason=message or "",
            status=record.status,
        )
        _delete_record(home, record.run, removed)
        size, problem = delete_in_mlflow(home, record.run, known)
        if known:
            removed.add(f"MLflow's run of {record.run} and its {len(known) - 1} trials", size)
        notes += [problem] if problem else []
        notes += _dependents(home, record)
    # A file that a step is writing just now may be one of these: then they wait until they are old enough.
    more = collect_garbage(home, given_up=before if alone else ())
    return Removed([*removed.names, *more.names], removed.size + more.size), notes


def _delete_record(home: Home, run: str, removed: Removed) -> None:
    if home.target is not None:
        from tidegate.infra.cluster.jobs import driver_name

        mirror = Mirror(home, run)
        with contextlib.suppress(InfraError):
            home.cluster.delete("Job", driver_name(run))
        for key in home.store.keys(f"runs/{run}/"):
            home.store.delete(key)
        home.store.delete(mirror.key(RECORD))
    withdraw(home.store, run)
    size = remove_folder(home.folder_of(run).path) + remove_folder(home.spool / run)
    removed.add(f"run {run}", size)


def _dependents(home: Home, record: RunRecord) -> list[str]:
    """Runs that began with this one's weights: they stay, and cannot be submitted again as they are."""
    names = [
        folder.run
        for folder in home.run_folders()
        if (folder.read().experiment.get("model") or {}).get("from") == record.run
    ]
    return [f"run {name} started from {record.run}, and cannot be repeated without it" for name in names]
