"""verify: replay held-out rows and probes against the new release over HTTP and compare with the trained model.

A model of texts is compared on every row when it is packaged; here its texts for a few rows and probes must equal those
that the bundle writes in this process. Boxes must match those decoded from the trained model's outputs.
"""

import numpy as np

from tidegate.models.data.columns import Columns, load_columns, rows_of
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.answers import as_answers, scales_of
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.step_types.release import VerifyInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.pipelines.steps.releasing.proof import (
    NO_TRAFFIC,
    Candidate,
    Verified,
    verify_boxes,
    verify_probes,
    verify_texts,
)
from tidegate.pipelines.steps.releasing.replay import replay
from tidegate.serving.contract.answers import numbers_of, told_of
from tidegate.serving.inference.predictor import sample_rows


def run(inputs: VerifyInputs, context: StepContext) -> Verified:
    """Request predictions and compare them; then let it answer what the live release recorded.

    Raises:
        PipelineError: an answer differs by more than the bundle's tolerance; the release gets no traffic.
        ClientError: the server rejected a row or did not answer.
    """
    verified = _verified(inputs, context)
    found = replay(context.home, inputs.endpoint, inputs.release, inputs.replayed_by)
    return verified.model_copy(update={"replay": found})


def _verified(inputs: VerifyInputs, context: StepContext) -> Verified:
    schema, transforms = read_contract(inputs.prepared, context.store)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    columns = {field.name: columns[field.name] for field in schema.inputs}
    candidate = Candidate(context.home, inputs.endpoint, inputs.release)
    probes = candidate.probes
    if schema.target.task == "generation":
        return verify_texts(candidate, [columns] if probes is None else [columns, probes.columns])
    reference = np.load(context.store.fetch(inputs.winner.reference), allow_pickle=False)
    if schema.target.task == "detection":
        if probes is not None:
            columns = {name: np.concatenate([part, probes.columns[name]]) for name, part in columns.items()}
            reference = np.concatenate([reference, probes.answers])
        return verify_boxes(candidate, transforms, columns, reference)
    held_out = _verify_rows(candidate, schema, columns, reference, inputs.packaged.tolerance)
    if probes is None:
        return held_out
    probed = verify_probes(candidate, schema, probes)
    largest = max(held_out.max_abs_difference, probed.max_abs_difference)
    return Verified(rows=held_out.rows + probed.rows, max_abs_difference=largest)


def _verify_rows(
    candidate: Candidate, schema: Schema, columns: Columns, reference: np.ndarray, tolerance: float
) -> Verified:
    rows = sample_rows(columns, rows_of(columns))
    with candidate.connect() as client:
        answers = client.predict(rows)
    known = as_answers(schema.target, reference)
    difference = np.abs(numbers_of(schema.target, answers) - told_of(schema.target, known))
    if schema.target.outputs is not None:
        difference /= told_of(schema.target, scales_of(schema.target, known)[None, :])
    worst = int(difference.max(axis=1).argmax())
    largest = float(difference.max())
    if not largest <= tolerance:
        raise PipelineError(
            f"{candidate.name} answers row {worst} of the held-out rows {largest:.3g} away from the trained model; "
            f"allowed is {tolerance:.3g}; {NO_TRAFFIC}"
        )
    print(f"{len(rows)} held-out rows over HTTP, largest difference {largest:.3g}")
    return Verified(rows=len(rows), max_abs_difference=largest)
