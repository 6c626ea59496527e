"""The servers of local endpoints: start one for a release, give it the port, retire the others."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from infra import processes
from infra.errors import ConflictError
from infra.locks import held, lock
from pipelines.bundles import fetch_bundle
from pipelines.errors import PipelineError
from pipelines.home import Home, RunFolder
from serving.errors import ServerStartError
from serving.handover import GRACE, drain, server_argv, status, take_over, wait_ready
from serving.release import EndpointState, Release, fail, load, promote, update

START_S = 60.0


@contextlib.contextmanager
def endpoint_lock(home: Home, name: str) -> Iterator[None]:
    """One change of an endpoint at a time."""
    with lock(home.endpoints / f"{name}.lock", timeout=120):
        yield


def control_of(home: Home, state: EndpointState, number: int) -> Path:
    """The control socket of a release's server."""
    return home.endpoints / state.name / f"{state.incarnation}-{number}.sock"


def process_of(state: EndpointState, number: int) -> str:
    """The name under which a release's server process is recorded."""
    return f"endpoint-{state.name}.{state.incarnation}.{number}"


def start_server(home: Home, state: EndpointState, release: Release) -> Path:
    """Make sure that a release's server runs on a private port; return its control socket.

    Raises:
        ServerStartError: it ended before it was ready, with the end of its log.
    """
    control = control_of(home, state, release.number)
    name = process_of(state, release.number)
    if processes.find(home.processes, name) is not None and status(control) is not None:
        return control
    bundle = fetch_bundle(home, release.bundle)
    log = home.endpoints / state.name / f"{state.incarnation}-{release.number}.log"
    record = processes.start(
        home.processes,
        name,
        server_argv(bundle, state.name, release.number, control),
        log=log,
        cwd=home.path,
        env={"TIDEGATE_HOME": str(home.path)},
        extra={"endpoint": state.name, "release": release.number},
    )
    try:
        wait_ready(control, START_S, lambda: processes.alive(record))
    except ServerStartError as error:
        processes.stop(home.processes, name)
        tail = " ".join(log.read_text(errors="replace").split()[-60:])
        raise ServerStartError(f"{error}; the end of {log}: {tail}") from error
    return control


def go_live(home: Home, name: str, number: int) -> EndpointState:
    """Give a release the endpoint's port, move the pointer, retire the other servers. Holds no lock itself.

    Raises:
        PortTakenError: a foreign process has the port; nothing was changed.
    """
    state = load(home.store, name)
    control = start_server(home, state, state.release(number))
    previous = control_of(home, state, state.current) if state.current not in (None, number) else None
    take_over(control, _port(state), previous)
    state = update(home.store, name, lambda known: promote(known, number), ConflictError)
    retire_others(home, state)
    return state


def _port(state: EndpointState) -> int:
    if state.port is None:
        raise PipelineError(f'endpoint "{state.name}" has no port; deploy it again')
    return state.port


def retire_others(home: Home, state: EndpointState, also_pending: bool = False) -> None:
    """Drain and stop every server of the endpoint but the live release's; one that a run drives only when asked."""
    waiting = [release for release in state.releases if release.state == "pending"]
    pending = {known.number for known in waiting if held(RunFolder(home.runs_path / known.run).lock)}
    for record in processes.all(home.processes):
        if record.extra.get("endpoint") != state.name:
            continue
        number = int(record.extra["release"])
        if record.name == process_of(state, state.current or 0) or (number in pending and not also_pending):
            continue
        stop_server(home, state, number, record.name)


def abandon(home: Home, run: str, name: str) -> None:
    """A release that a run reserved but did not promote gets no traffic, and no server."""
    if all(release.run != run for release in load(home.store, name).releases):
        return
    with endpoint_lock(home, name):
        state = load(home.store, name)
        for release in state.releases:
            if release.run == run and release.state == "pending":
                stop_server(home, state, release.number)
                state = update(home.store, name, partial(fail, number=release.number), ConflictError)
        retire_others(home, state)


def stop_server(home: Home, state: EndpointState, number: int, name: str | None = None) -> bool:
    """Let a release's server answer what it has, then end it."""
    control = control_of(home, state, number)
    name = name or process_of(state, number)
    ran = processes.find(home.processes, name) is not None
    if drain(control):
        deadline = time.monotonic() + GRACE + 1
        while processes.find(home.processes, name) is not None and time.monotonic() < deadline:
            time.sleep(0.02)
    return processes.stop(home.processes, name) or ran


def ensure_live(home: Home, name: str) -> EndpointState | None:
    """Start the live release's server again when it is gone (a reboot, `down`); None when there is no release."""
    state = load(home.store, name)
    if state.current is None:
        return None
    found = status(control_of(home, state, state.current))
    if found is None or found.get("port") != state.port:
        with endpoint_lock(home, name):
            state = go_live(home, name, load(home.store, name).current or state.current)
    return state
