"""The endpoints that are deployed at a target, by name. Imports nothing heavy."""

from pathlib import Path

from tidegate.pipelines.errors import UnknownNameError
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState, load


def known_endpoints(home: Home) -> list[EndpointState]:
    """Every endpoint that is deployed, by name."""
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
