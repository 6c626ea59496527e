"""endpoints, rollback, delete: what is live."""

import time
from functools import partial
from typing import Any

from tidegate.infra.errors import ConflictError, InfraError
from tidegate.infra.mlflow import server as mlflow_server
from tidegate.pipelines.commands.endpoints.drift import drift_of, drift_summary
from tidegate.pipelines.driver.mlflow_deletion import follow_later
from tidegate.pipelines.driver.notifications import deliver, keep, message_of, notify_of
from tidegate.pipelines.errors import UnknownNameError
from tidegate.pipelines.history.record import new_event, settle_endpoint
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.recordings.places import remove_recordings
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.endpoint_names import known_endpoints, require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import Release, deleted, load, rollback_target, update


def endpoints(home: Home) -> Result:
    """Every endpoint, its live release and whether it answers."""
    data, host = [], hosting(home)
    for state in known_endpoints(home):
        release = state.release(state.current or 0)
        row = release.model_dump(mode="json", include={"run", "bundle", "bento", "runtime", "created"})
        url, live = host.url(state), host.answers(state)
        head: dict[str, Any] = {"name": state.name, "release": release.number, "url": url, "live": live}
        head["drift"] = drift_of(url, host.trust(state)) if live else None
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
            drift_summary(row["drift"]),
            row["run"],
        )
        for row in data
    ]
    headers = ("name", "release", "url", "", "drift", "run")
    none = f"no endpoints in {home.path}; `tidegate submit` makes one, --home names another"
    return Result(data, table(headers, rows) if rows else none)


def rollback(home: Home, name: str, to: int | None, message: str | None = None) -> Result:
    """Serve an earlier release again, on the same address and with the same predictions.

    Args:
        home: the home.
        name: the endpoint.
        to: a release's number; None for the one before the live one.
        message: why, for the history.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the message is too long.
        ReleaseError: no such release.
    """
    require_endpoint(home, name)
    host, event = hosting(home), new_event(home, "rolled_back", endpoint=name, reason=message or "")
    with host.lock(name, ""):
        before = load(home.store, name)
        target = rollback_target(before, to)
        told = event.model_copy(update={"run": target.run})
        url = host.url(host.go_live(name, target.number, event=told).state)
    settle_endpoint(home.store, name)
    note = "\n".join(
        filter(None, [follow_alias(home, name), _tell_rolled_back(home, target, before.current, url)])
    )
    data = {"endpoint": name, "release": target.number, "url": url, "run": target.run}
    text = f"{name} serves release {target.number} (run {target.run}) at {url}; before: {before.current}"
    return Result(data | {"note": note}, f"{text}\n{note}".strip())


def _tell_rolled_back(home: Home, target: Release, before: int | None, url: str) -> str:
    """Tell whom the experiment of the release names; "" or whom that did not reach."""
    try:
        record = home.run_folder(target.run).read()
    except UnknownNameError:  # its run was removed, and with it the experiment
        return ""
    notify = notify_of(record)
    if not any("rolled_back" in entry.on for entry in notify):
        return ""
    facts = {"release": target.number, "before": before, "url": url}
    keep(home, notify, message_of("rolled_back", record, time.time(), facts))
    return "\n".join(deliver(home))


def delete_endpoint(home: Home, name: str, message: str | None = None) -> Result:
    """Remove an endpoint: its server, its address, what it recorded and its champion alias; runs and bentos stay.

    Args:
        home: the home.
        name: the endpoint.
        message: why, for the history.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the message is too long.
    """
    require_endpoint(home, name)
    host, event = hosting(home), new_event(home, "deleted", endpoint=name, reason=message or "")
    with host.lock(name, ""):
        stopped = host.remove(load(home.store, name))
        remove_recordings(
            home, name
        )  # first: whoever is killed after the next step leaves none to another endpoint
        update(home.store, name, partial(deleted, event=event), ConflictError)
    settle_endpoint(home.store, name)
    note = follow_alias(home, name, start=False)
    text = f"endpoint {name} is deleted{'' if stopped else ' (its server did not run)'}"
    return Result({"endpoint": name, "deleted": True, "note": note}, f"{text}\n{note}".strip())


def follow_alias(home: Home, name: str, start: bool = True) -> str:
    """Move MLflow's alias to the live release; when MLflow is down, the release is live all the same.

    With `start` False, an MLflow that does not run is not started: the alias follows when it runs again.
    """
    if not start and mlflow_server.url(home.path) is None:
        follow_later(home, name)
        return ""
    from tidegate.pipelines.driver.mlflow_sync import follow_release

    try:
        follow_release(home, name)
    except InfraError as error:
        follow_later(home, name)  # a promoted release has no run here whose sync would see to it
        return f"MLflow's alias will follow with the next sync: {error}"
    return ""
