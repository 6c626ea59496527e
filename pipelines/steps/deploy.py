"""deploy: reserve a release and start its server on a private port. It has no traffic yet."""

from infra.errors import ConflictError
from pipelines.address import choose_port, port_is_free
from pipelines.servers import endpoint_lock, start_server
from pipelines.steps import StepContext, StepPart
from pipelines.steps.package import Outputs as Packaged
from serving.errors import PortTakenError
from serving.proof import Parity
from serving.release import EndpointState, load, reserve, update


class Inputs(StepPart):
    """What is deployed, and where."""

    run: str
    endpoint: str
    port: int | None
    packaged: Packaged
    trial: str


class Outputs(StepPart):
    """The reserved release: its number and the port that it will take."""

    release: int
    port: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Reserve and start.

    Raises:
        PortTakenError: a foreign process listens on the endpoint's port.
        ServerStartError: the server did not become ready.
    """
    home = context.home
    with endpoint_lock(home, inputs.endpoint):
        state = _reserved(inputs, context)
        port = state.port
        assert port is not None
        if state.current is None and not port_is_free(port):
            raise PortTakenError(port, "127.0.0.1")
        release = state.find(context.key)
        assert release is not None
        start_server(home, state, release)
    print(f"release {release.number} of {inputs.endpoint} is ready on a private port")
    return Outputs(release=release.number, port=port)


def _reserved(inputs: Inputs, context: StepContext) -> EndpointState:
    store, packaged = context.home.store, inputs.packaged
    port = choose_port(context.home, load(store, inputs.endpoint), inputs.port)
    parity = Parity(max_abs_difference=packaged.parity, tolerance=packaged.tolerance, rows=packaged.rows)

    def change(state: EndpointState) -> EndpointState:
        return reserve(
            state.model_copy(update={"port": port}),
            run=inputs.run,
            trial=inputs.trial,
            key=context.key,
            bundle=packaged.bundle,
            bento=packaged.bento,
            runtime=packaged.runtime,
            parity=parity,
        )

    return update(store, inputs.endpoint, change, ConflictError)
