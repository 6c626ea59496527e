"""endpoints, rollback, delete: the live side."""

from typing import Any

from infra.errors import ConflictError, InfraError
from pipelines.address import known_endpoints, require_endpoint, url_of
from pipelines.drift import drift_of, in_words
from pipelines.home import Home
from pipelines.result import Result, table
from pipelines.servers import control_of, endpoint_lock, go_live, retire_others, stop_server
from serving.handover import status
from serving.release import deleted, load, rollback_target, update


def endpoints(home: Home) -> Result:
    """Every endpoint, its live release and whether it answers."""
    data = []
    for state in known_endpoints(home):
        release = state.release(state.current or 0)
        found = status(control_of(home, state, release.number))
        row = release.model_dump(mode="json", include={"run", "bundle", "bento", "runtime", "created"})
        head: dict[str, Any] = {
            "name": state.name,
            "release": release.number,
            "url": url_of(state),
            "live": found is not None,
            "drift": drift_of(url_of(state)) if found is not None else None,
        }
        releases = [
            {"release": known.number, "run": known.run, "state": known.state} for known in state.releases
        ]
        data.append(head | row | {"releases": releases})
    rows = [
        (
            row["name"],
            row["release"],
            row["url"],
            "answers" if row["live"] else "stopped",
            in_words(row["drift"]),
            row["run"],
        )
        for row in data
    ]
    headers = ("name", "release", "url", "", "drift", "run")
    return Result(
        data, table(headers, rows) if rows else "no endpoints here yet; `tidegate submit` makes one"
    )


def rollback(home: Home, name: str, to: int | None) -> Result:
    """Serve an earlier release again, on the same address and with the same predictions.

    Args:
        home: the home.
        name: the endpoint.
        to: a release's number; None for the one before the live one.

    Raises:
        UnknownNameError: no such endpoint.
        ReleaseError: no such release.
    """
    require_endpoint(home, name)
    with endpoint_lock(home, name):
        before = load(home.store, name)
        target = rollback_target(before, to)
        state = go_live(home, name, target.number)
    note = _follow(home, name)
    data = {"endpoint": name, "release": target.number, "url": url_of(state), "run": target.run}
    text = f"{name} serves release {target.number} (run {target.run}) at {url_of(state)}; before: {before.current}"
    return Result(data | {"note": note}, f"{text}\n{note}".strip())


def delete(home: Home, name: str) -> Result:
    """Remove an endpoint: its server, its address and its champion alias; runs and bentos stay.

    Raises:
        UnknownNameError: no such endpoint.
    """
    require_endpoint(home, name)
    with endpoint_lock(home, name):
        state = load(home.store, name)
        stopped = stop_server(home, state, state.current or 0)
        retire_others(home, state.model_copy(update={"current": None}), also_pending=True)
        update(home.store, name, deleted, ConflictError)
    note = _follow(home, name)
    text = f"endpoint {name} is deleted{'' if stopped else ' (its server did not run)'}"
    return Result({"endpoint": name, "deleted": True, "note": note}, f"{text}\n{note}".strip())


def _follow(home: Home, name: str) -> str:
    """Bring MLflow's alias after the release pointer; when MLflow is down the pointer counts all the same."""
    from pipelines.sync import follow_release

    try:
        follow_release(home, name)
    except InfraError as error:
        return f"MLflow's alias will follow with the next sync: {error}"
    return ""
