"""delete, gc: what is no longer needed goes, and the disk that it took is free."""

import time

from tidegate.pipelines.commands.endpoints.lifecycle import delete_endpoint
from tidegate.pipelines.commands.runs.deletion import delete_runs, why_kept
from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.ages import age_in_seconds
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.garbage_collection import collect_garbage
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import refresh
from tidegate.pipelines.state.removed import Removed, size_text

SHOWN = 5  # runs whose reason to stay is told


def delete(home: Home, name: str, message: str | None = None) -> Result:
    """Remove an endpoint, or a run with all that only it needs.

    Args:
        home: the home.
        name: the endpoint or the run.
        message: why, for the history.

    Raises:
        UnknownNameError: neither has this name.
        UsageError: the run is underway, or a release needs it.
    """
    endpoints = [state.name for state in known_endpoints(home)]
    if name in endpoints:
        return delete_endpoint(home, name, message)
    refresh(home)
    runs = [folder.run for folder in home.run_folders()]
    if name not in runs:
        where = "`tidegate endpoints` and `tidegate runs` list them"
        raise UnknownNameError("endpoint or run", name, [*endpoints, *runs], where)
    record = home.run_folder(name).read()
    reason = why_kept(home, record)
    if reason:
        raise UsageError(f"run {name} cannot be deleted: {reason}")
    removed, notes = delete_runs(home, [record], message)
    data = {"run": name, "deleted": True, "removed": removed.names, "freed": removed.size}
    text = f"run {name} is deleted; {size_text(removed.size)} are free"
    return Result(data | {"note": "\n".join(notes)}, "\n".join([_listed(removed), text, *notes]))


def gc(home: Home, *, older_than: str | None = None) -> Result:
    """Remove what no live release and no run needs: old step results, their files, bentos, leftovers.

    Args:
        home: the home.
        older_than: also delete runs that ended longer ago, and that are of no release; None for none.

    Raises:
        UsageError: the age cannot be read.
    """
    age = None if older_than is None else age_in_seconds(older_than)
    if older_than is not None and age is None:
        raise UsageError(f'--older-than is "{older_than}"; expected an age such as 30d, 12h or 2w')
    refresh(home)
    removed, kept = Removed(), list[dict[str, str]]()
    notes: list[str] = []
    if age is not None:
        records = [folder.read() for folder in home.run_folders()]
        old = [record for record in records if (record.finished or record.created) < time.time() - age]
        reasons = {record.run: why_kept(home, record) for record in old}
        kept = [{"run": run, "reason": reason} for run, reason in reasons.items() if reason]
        going = [record for record in old if not reasons[record.run]]
        removed, notes = delete_runs(home, going, f"older than {older_than}") if going else (removed, notes)
    parts = [removed, collect_garbage(home)]
    if (home.path / "recordings").is_dir():
        from tidegate.pipelines.recordings.expiring import (
            expire_recordings,
        )  # cryptography, for most needless

        parts.append(expire_recordings(home))
    names = [name for part in parts for name in part.names]
    removed = Removed([*names, *hosting(home).sweep()], sum(part.size for part in parts))
    lines = [_listed(removed)] if removed.names else ["nothing to remove"]
    lines += [f"kept run {one['run']}: {one['reason']}" for one in kept[:SHOWN]]
    lines += [f"kept {len(kept) - SHOWN} more runs for such reasons"] if len(kept) > SHOWN else []
    lines += [f"{size_text(removed.size)} are free"] if removed.names else []
    return Result(
        {"removed": removed.names, "freed": removed.size, "kept": kept}, "\n".join([*lines, *notes])
    )


def _listed(removed: Removed) -> str:
    return "\n".join(f"removed {name}" for name in removed.names)
