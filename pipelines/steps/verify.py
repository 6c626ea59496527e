"""verify: replay every held-out row against the new release over HTTP and compare with the trained model."""

import numpy as np

from models.columns import load_columns, rows_of
from pipelines.errors import PipelineError
from pipelines.hosting import hosting
from pipelines.steps import StepContext, StepPart
from pipelines.steps.package import Outputs as Packaged
from pipelines.steps.prepare import Outputs as Prepared
from pipelines.steps.train import Outputs as Trial
from serving.client import Client
from serving.predictor import probabilities, sample_rows
from serving.release import load


class Inputs(StepPart):
    """The release, and what it must answer."""

    endpoint: str
    release: int
    packaged: Packaged
    winner: Trial
    prepared: Prepared


class Outputs(StepPart):
    """How far the answers were from the trained model's.

    Attributes:
        rows: held-out rows asked.
        max_abs_difference: over all rows and outputs.
    """

    rows: int
    max_abs_difference: float


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Ask and compare.

    Raises:
        PipelineError: an answer differs by more than the bundle's tolerance; the release gets no traffic.
        ClientError: the server refused a row or did not answer.
    """
    schema, _ = inputs.prepared.contract(context)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    rows = sample_rows({field.name: columns[field.name] for field in schema.inputs}, rows_of(columns))
    url = hosting(context.home).private_url(load(context.home.store, inputs.endpoint), inputs.release)
    with Client(url) as client:
        answers = client.predict(rows)
    reference = np.load(context.store.fetch(inputs.winner.reference), allow_pickle=False)
    if schema.target.task == "classification":
        reference = probabilities(reference)
        answers = [answer["probabilities"] for answer in answers]
    served = np.asarray(answers, dtype=np.float64).reshape(reference.shape)
    difference = np.abs(served - reference)
    worst = int(difference.max(axis=1).argmax())
    largest = float(difference.max())
    if not largest <= inputs.packaged.tolerance:
        raise PipelineError(
            f"release {inputs.release} of {inputs.endpoint} answers row {worst} of the held-out rows "
            f"{largest:.3g} away from the trained model; allowed is {inputs.packaged.tolerance:.3g}; "
            "it gets no traffic"
        )
    print(f"{len(rows)} held-out rows over HTTP, largest difference {largest:.3g}")
    return Outputs(rows=len(rows), max_abs_difference=largest)
