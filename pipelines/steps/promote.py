"""promote: give the verified release the endpoint's port and move the release pointer; the alias follows it."""

from functools import partial

from infra.errors import ConflictError
from pipelines.address import choose_port, url_of
from pipelines.errors import ChampionChangedError
from pipelines.home import Home
from pipelines.servers import endpoint_lock, go_live
from pipelines.steps import StepContext, StepPart
from serving.errors import PortTakenError
from serving.release import EndpointState, load, update


class Inputs(StepPart):
    """The release, the champion it was compared with, and the port that the experiment asks for."""

    run: str
    endpoint: str
    release: int
    champion: str | None
    port: int | None


class Outputs(StepPart):
    """The live release and its address."""

    release: int
    url: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Take over.

    Raises:
        ChampionChangedError: another run was promoted since the gate compared; it must compare again.
        PortTakenError: a foreign process has the endpoint's port.
    """
    with endpoint_lock(context.home, inputs.endpoint):
        _require_same_champion(load(context.home.store, inputs.endpoint), inputs)
        state = _take_over(inputs, context.home)
    print(f"release {inputs.release} is live at {url_of(state)}")
    return Outputs(release=inputs.release, url=url_of(state))


def _take_over(inputs: Inputs, home: Home) -> EndpointState:
    """Go live; where somebody took the port since it was chosen and nobody knows it yet, on another one."""
    try:
        return go_live(home, inputs.endpoint, inputs.release)
    except PortTakenError:
        state = load(home.store, inputs.endpoint)
        if state.current is not None or inputs.port is not None:
            raise
    port = choose_port(home, state, None)
    update(
        home.store, inputs.endpoint, partial(EndpointState.model_copy, update={"port": port}), ConflictError
    )
    return go_live(home, inputs.endpoint, inputs.release)


def _require_same_champion(state: EndpointState, inputs: Inputs) -> None:
    if state.current is None or state.current == inputs.release:
        return
    current = state.release(state.current)
    if current.bundle != inputs.champion and current.run != inputs.run:
        raise ChampionChangedError(
            f"release {current.number} (run {current.run}) became the champion of {inputs.endpoint} meanwhile"
        )
