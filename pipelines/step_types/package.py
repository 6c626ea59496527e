"""Inputs and outputs of `package`."""

from typing import Literal

from tidegate.models.decoding.settings import DecodingSettings
from tidegate.pipelines.experiment.gate import Gate
from tidegate.pipelines.step_types.base import Later, StepPart
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.select import Selected
from tidegate.pipelines.step_types.train import Trained
from tidegate.serving.bundle.measurements import Batching, Probed, Runtime

Proof = Literal["training", "answers", "none"]
PROVED_BY = {"training": "the trained model", "answers": "the given answers"}


def nearness(parity: float | None, proof: str) -> str:
    """How far the served model is from what proves it, in words."""
    return "unproved" if parity is None else f"within {parity:.2g} of {PROVED_BY[proof]}"


class Origin(StepPart):
    """What a plan knows of where its results come from, for the bundle's chain; see `serving.bundle.chain`.

    Attributes:
        experiment: SHA-256 of the experiment's content.
        data: of the source.
        parts: of the files that `data.split` names, by part.
        code: of our code that each step runs, by step.
        versions: of the libraries of each step, by step.
        steps: step -> the key of its result; a trial's is a part of its id.
        gate: the criteria.
        champion: digest of the bundle that the winner was compared with; None: there was none.
    """

    experiment: str
    data: str
    parts: dict[str, str]
    code: dict[str, str]
    versions: dict[str, dict[str, str]]
    steps: dict[str, str]
    gate: Gate
    champion: str | None


class PackageInputs(CodedInputs):
    """The winner, the data it is checked on, the runtime, the decoding settings, and whether it explains; for the
    chain, what the gate said, and what the plan knows.
    """

    run: str
    endpoint: str
    runtime: Literal["auto", "onnx", "tensorflow"]
    decoding: DecodingSettings | None = None
    explain: bool = False
    winner: Later[Trained]
    prepared: Later[Prepared]
    versions: dict[str, str]
    selected: Later[Selected]
    origin: Origin


class Packaged(StepPart):
    """A model that can be deployed.

    Attributes:
        bundle: digest of the bundle.
        bento: tag in BentoML's store.
        runtime: which runtime serves it.
        reason: why it is not ONNX, or "".
        parity: the largest absolute difference found; None: nothing says what a model of another framework answers.
        proof: what it was compared with, see `step_types.train.Trained`.
        tolerance: the difference allowed.
        rows: held-out rows compared.
        batching: measurements of requests predicted in one batch.
        probed: how far it is from the trained model for probes; None in older outputs.
        explained: the largest difference of its attributions from the trained model's; None: it does not explain.
    """

    bundle: str
    bento: str
    runtime: Runtime
    reason: str
    parity: float | None
    tolerance: float
    rows: int
    batching: Batching | None = None
    explained: float | None = None
    probed: Probed | None = None
    proof: Proof = "training"
