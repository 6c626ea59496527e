"""The ports on which local endpoints answer. Imports nothing heavy."""

from pathlib import Path

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState, load

HOST = "127.0.0.1"
FIRST_PORT = 3000


def choose_port(home: Home, state: EndpointState, wanted: int | None) -> int:
    """The endpoint's port: the requested one, the one it has, or the first free one.

    Raises:
        UsageError: the requested one cannot be used.
    """
    check_port(home, state, wanted)
    if wanted is not None:
        return wanted
    if state.port is not None and (state.current is not None or port_is_free(state.port)):
        return state.port
    taken = {load(home.store, Path(key).stem).port for key in home.store.keys("endpoints/")}
    free = (port for port in range(FIRST_PORT, FIRST_PORT + 2000) if port not in taken and port_is_free(port))
    return next(free)


def check_port(home: Home, state: EndpointState, wanted: int | None) -> None:
    """Refuse a port that the endpoint cannot use.

    Raises:
        UsageError: it has another one already, and an address never changes; or the requested one is taken.
    """
    if wanted is None:
        return
    if state.current is not None and state.port != wanted:
        raise UsageError(
            f'serving.port is {wanted} but endpoint "{state.name}" answers on {state.port}, and an address '
            f"never changes; leave serving.port out, or `tidegate delete {state.name}` first"
        )
    others = {known.port: known.name for known in known_endpoints(home) if known.name != state.name}
    holder = f'endpoint "{others[wanted]}"' if wanted in others else "another process"
    if state.current is None and (wanted in others or not port_is_free(wanted)):
        raise UsageError(
            f"serving.port is {wanted}, which {holder} uses; expected a free port; "
            "leave serving.port out to get one, name another, or stop what listens there"
        )


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    import socket  # a plan does without

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
