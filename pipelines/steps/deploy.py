"""deploy: reserve a release and start its servers. It gets no traffic yet."""

from tidegate.pipelines.signing.releases import sign_bundle
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.step_types.release import Deployed, DeployInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.releasing.deployment import deploy
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.recording.settings import check_drop, repeated_by


def run(inputs: DeployInputs, context: StepContext) -> Deployed:
    """Reserve and start.

    Raises:
        PortTakenError: another program listens on the endpoint's port.
        ServerStartError: the servers did not become ready.
        RecordingError: the model has no input that is to be dropped, or its answers repeat it.
    """
    home, packaged = context.home, inputs.packaged
    bundle = open_bundle(fetch_bundle(home, packaged.bundle))
    if inputs.serving.record is not None:
        contract = bundle.contract
        names = [field.name for field in contract.inputs]
        check_drop(inputs.serving.record, names, repeated_by(contract.task, names, contract.prompt))
    state, release = deploy(
        home,
        inputs.endpoint,
        inputs.run,
        context.key,
        inputs.serving,
        run=inputs.run,
        trial=inputs.trial,
        bundle=packaged.bundle,
        bento=packaged.bento,
        runtime=packaged.runtime,
        parity=bundle.manifest.parity,
        secrets=inputs.code.secrets if inputs.code else (),
        signed_by=sign_bundle(home, bundle),
    )
    return Deployed(release=release.number, port=state.port)
