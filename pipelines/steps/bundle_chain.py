"""The chain of a bundle, from what its steps took and left."""

from tidegate.pipelines.step_types.package import PackageInputs
from tidegate.serving.bundle.chain import Chain, CodeLink, DataLink, GateLink, LockLink, ParityLink
from tidegate.serving.bundle.measurements import Parity, Probed

PREPARED = ("train", "validation", "test", "schema_", "transforms")


def chain_of(inputs: PackageInputs, parity: Parity, probed: Probed | None) -> Chain:
    """Data, code, lock, weights, parity and gate of the winner.

    Args:
        inputs: of `package`.
        parity: that was measured.
        probed: the same for its probes.
    """
    origin, code, winner, selected = inputs.origin, inputs.code, inputs.winner, inputs.selected
    prepared = {name: getattr(inputs.prepared, name).digest for name in PREPARED}
    files = {"model.keras": winner.keras, "model.onnx": winner.onnx, "cached.onnx": winner.cached}
    return Chain(
        run=inputs.run,
        endpoint=inputs.endpoint,
        trial=winner.id,
        experiment=origin.experiment,
        steps=origin.steps,
        data=DataLink(source=origin.data, parts=origin.parts, prepared=prepared),
        code=CodeLink(steps=origin.code, project=code.snapshot.digest if code else ""),
        lock=LockLink(versions=origin.versions, project=code.environment if code else ""),
        weights={name: ref.digest for name, ref in files.items() if ref is not None},
        parity=ParityLink(
            measured=parity,
            proof=winner.proof,
            probes=0 if probed is None else probed.rows,
            passed=parity.passed and (probed is None or probed.passed),
        ),
        gate=GateLink(
            criteria=origin.model_dump(mode="json", include={"gate"})["gate"],
            metric=selected.metric,
            metrics=selected.metrics,
            champion=origin.champion,
            passed=not selected.refused,
        ),
    )
