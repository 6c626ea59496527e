"""logs of an endpoint: what the servers of its live release printed."""

import sys
import time

from tidegate.pipelines.errors import UnknownNameError, UsageError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.hosting.base import Hosting
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.endpoint_names import known_endpoints
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState

POLL_S = 0.5
REMOTE_POLL_S = 2.0


def endpoint_logs(
    home: Home, name: str, step: str | None, *, follow: bool, quiet: bool, or_run: bool
) -> Result:
    """What the live release's servers printed; with `follow`, until Ctrl-C.

    Args:
        home: the home.
        name: the endpoint.
        step: must be None: an endpoint has no steps.
        follow: keep printing.
        quiet: print nothing, only return the text; then `follow` returns what is there.
        or_run: the name could have been a run's, which the error then says.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: a step is named.
    """
    state = _endpoint(home, name, or_run)
    if step is not None:
        raise UsageError(f'"{name}" is an endpoint, which has no step "{step}"; expected a run, or no step')
    place, number, printed = hosting(home), state.current or 0, _Printer(quiet)
    printed.add(place, state, number)
    while follow and not quiet:
        time.sleep(POLL_S if home.target is None else REMOTE_POLL_S)
        state = _endpoint(home, name, or_run)  # another release may have taken over
        printed.add(place, state, state.current or 0)
    if not printed.text and not quiet:
        print(f"release {number} of {name} has printed nothing", file=sys.stderr)
    return Result({"endpoint": name, "release": number, "log": printed.text}, "")


class _Printer:
    """Prints what is new in each server's log, under its name."""

    def __init__(self, quiet: bool) -> None:
        self.text = ""
        self._quiet = quiet
        self._seen: dict[str, int] = {}

    def add(self, place: Hosting, state: EndpointState, number: int) -> None:
        for server, text in place.logs(state, number).items():
            title = "" if server in self._seen else f"== {server}\n"
            fresh = text[self._seen.get(server, 0) :]
            self._seen[server] = len(text)
            if fresh:
                self._print(f"{title}{fresh}")

    def _print(self, text: str) -> None:
        self.text += text
        if not self._quiet:
            sys.stdout.write(text)
            sys.stdout.flush()


def _endpoint(home: Home, name: str, or_run: bool) -> EndpointState:
    states = {state.name: state for state in known_endpoints(home)}
    if name in states:
        return states[name]
    if not or_run:
        raise UnknownNameError("endpoint", name, states, "`tidegate endpoints` lists them")
    runs = [folder.run for folder in home.run_folders()]
    raise UnknownNameError(
        "run", name, [*runs, *states], "`tidegate runs` and `tidegate endpoints` list them"
    )
