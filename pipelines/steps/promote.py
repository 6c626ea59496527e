"""promote: give the verified release the endpoint's port and move the release pointer; the alias follows it."""

from pipelines.errors import ChampionChangedError
from pipelines.servers import endpoint_lock, go_live, url_of
from pipelines.steps import StepContext, StepPart
from serving.release import EndpointState, load


class Inputs(StepPart):
    """The release, and the champion it was compared with."""

    run: str
    endpoint: str
    release: int
    champion: str | None


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
        state = go_live(context.home, inputs.endpoint, inputs.release)
    print(f"release {inputs.release} is live at {url_of(state)}")
    return Outputs(release=inputs.release, url=url_of(state))


def _require_same_champion(state: EndpointState, inputs: Inputs) -> None:
    if state.current is None or state.current == inputs.release:
        return
    current = state.release(state.current)
    if current.bundle != inputs.champion and current.run != inputs.run:
        raise ChampionChangedError(
            f"release {current.number} (run {current.run}) became the champion of {inputs.endpoint} meanwhile"
        )
