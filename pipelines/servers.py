"""The servers of local endpoints: start one for a release, give it the port, retire the others."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from infra import processes
from infra.errors import ConflictError
from infra.locks import lock
from pipelines.bundles import fetch_bundle
from pipelines.errors import PipelineError, UnknownNameError, UsageError
from pipelines.home import Home
from serving.errors import ServerStartError
from serving.handover import GRACE, drain, server_argv, status, take_over, wait_ready
from serving.release import EndpointState, Release, load, promote, update

HOST = "127.0.0.1"
FIRST_PORT = 3000
START_S = 60.0


def url_of(state: EndpointState) -> str:
    """The endpoint's base URL."""
    return f"http://{HOST}:{state.port}"


def known_endpoints(home: Home) -> list[EndpointState]:
    """Every endpoint that is deployed here, by name."""
    names = [Path(key).stem for key in home.store.keys("endpoints/")]
    states = [load(home.store, name) for name in names]
    return [state for state in states if state.current is not None]


def require_endpoint(home: Home, name: str) -> EndpointState:
    """The state of a deployed endpoint.

    Raises:
        UnknownNameError: there is none of this name.
    """
    states = {state.name: state for state in known_endpoints(home)}
    if name not in states:
        raise UnknownNameError("endpoint", name, states, "`tidegate endpoints` lists them")
    return states[name]


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
    """Drain and stop every server of the endpoint but the live release's; pending ones only when asked."""
    pending = {release.number for release in state.releases if release.state == "pending"}
    for record in processes.all(home.processes):
        if record.extra.get("endpoint") != state.name:
            continue
        number = int(record.extra["release"])
        if record.name == process_of(state, state.current or 0) or (number in pending and not also_pending):
            continue
        stop_server(home, state, number, record.name)


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


def choose_port(home: Home, state: EndpointState, wanted: int | None) -> int:
    """The endpoint's port: the one it has, the one asked for, or the first free one.

    Raises:
        PipelineError: it has another one already, and an address never changes.
    """
    check_port(home, state, wanted)
    if state.port is not None:
        return state.port
    if wanted is not None:
        return wanted
    taken = {load(home.store, Path(key).stem).port for key in home.store.keys("endpoints/")}
    free = (port for port in range(FIRST_PORT, FIRST_PORT + 2000) if port not in taken and port_is_free(port))
    return next(free)


def check_port(home: Home, state: EndpointState, wanted: int | None) -> None:
    """Refuse a port that the endpoint can not have.

    Raises:
        UsageError: it has another one already, and an address never changes; or somebody has the one asked for.
    """
    if wanted is None:
        return
    if state.port not in (None, wanted):
        raise UsageError(
            f'serving.port is {wanted} but endpoint "{state.name}" answers on {state.port}, and an address '
            f"never changes; leave serving.port out, or `tidegate delete {state.name}` first"
        )
    others = {known.port: known.name for known in known_endpoints(home) if known.name != state.name}
    holder = f'endpoint "{others[wanted]}"' if wanted in others else "another process"
    if state.current is None and (wanted in others or not port_is_free(wanted)):
        raise UsageError(
            f"serving.port is {wanted}, which {holder} has; expected a port that nobody listens on; "
            "leave serving.port out to get a free one, name another, or stop what listens there"
        )


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
