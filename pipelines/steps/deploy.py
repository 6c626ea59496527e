"""deploy: reserve a release and start its servers. It gets no traffic yet."""

from tidegate.infra.errors import ConflictError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.hosting.base import Hosting
from tidegate.pipelines.signing.releases import sign_bundle
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.step_types.release import Deployed, DeployInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.deployment.release import EndpointState, load, reserve, update


def run(inputs: DeployInputs, context: StepContext) -> Deployed:
    """Reserve and start.

    Raises:
        PortTakenError: another program listens on the endpoint's port.
        ServerStartError: the servers did not become ready.
    """
    place = hosting(context.home)
    with place.lock(inputs.endpoint, inputs.run):
        state = _reserve(inputs, context, place)
        release = state.find(context.key)
        assert release is not None
        place.start(state, release)
    print(f"release {release.number} of {inputs.endpoint} is ready and has no traffic yet")
    return Deployed(release=release.number, port=state.port)


def _reserve(inputs: DeployInputs, context: StepContext, place: Hosting) -> EndpointState:
    store, packaged = context.home.store, inputs.packaged
    port = place.choose_port(load(store, inputs.endpoint), inputs.serving.port)
    bundle = open_bundle(fetch_bundle(context.home, packaged.bundle))
    signed_by = sign_bundle(context.home, bundle)

    def change(state: EndpointState) -> EndpointState:
        return reserve(
            state.model_copy(update={"port": port}),
            run=inputs.run,
            trial=inputs.trial,
            key=context.key,
            bundle=packaged.bundle,
            bento=packaged.bento,
            runtime=packaged.runtime,
            parity=bundle.manifest.parity,
            serving=inputs.serving.model_dump(mode="json"),
            tag=place.tag(),
            secrets=inputs.code.secrets if inputs.code else (),
            signed_by=signed_by,
        )

    return update(store, inputs.endpoint, change, ConflictError)
