"""verify: replay every held-out row against the new release over HTTP and compare with the trained model.

A model of texts is compared on every row when it is packaged; here its texts for a few rows must be those that the
bundle writes in this process. Boxes must be those that come of what the trained model answered.
"""

from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, load_columns, rows_of
from tidegate.models.decoding.detections import detect
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.release import VerifyInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.release import load
from tidegate.serving.inference.bulk_scoring import chunk_rows
from tidegate.serving.inference.predictor import Predictor, probabilities, sample_rows

FEW_TEXTS = 16
CLOSE = 0.05  # of a box's score and, in pixels, of its corners
MOST_LONELY = 0.01  # of all boxes


class Verified(StepPart):
    """How far the answers were from the trained model's.

    Attributes:
        rows: held-out rows asked.
        max_abs_difference: over all rows and outputs.
    """

    rows: int
    max_abs_difference: float


def run(inputs: VerifyInputs, context: StepContext) -> Verified:
    """Ask and compare.

    Raises:
        PipelineError: an answer differs by more than the bundle's tolerance; the release gets no traffic.
        ClientError: the server refused a row or did not answer.
    """
    schema, _ = read_contract(inputs.prepared, context.store)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    url = hosting(context.home).private_url(load(context.home.store, inputs.endpoint), inputs.release)
    if schema.target.task == "detection":
        return _boxes(inputs, context, url, {field.name: columns[field.name] for field in schema.inputs})
    if schema.target.task == "generation":
        return _texts(inputs, context, url, {field.name: columns[field.name] for field in schema.inputs})
    rows = sample_rows({field.name: columns[field.name] for field in schema.inputs}, rows_of(columns))
    with Client(url, proof=True) as client:
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
    return Verified(rows=len(rows), max_abs_difference=largest)


def _texts(inputs: VerifyInputs, context: StepContext, url: str, columns: Columns) -> Verified:
    predictor = Predictor.of(fetch_bundle(context.home, inputs.packaged.bundle))
    rows = sample_rows(columns, min(FEW_TEXTS, predictor.contract.most_rows or FEW_TEXTS))
    with Client(url, proof=True) as client:
        answers = client.predict(rows, decoding={"seed": 0})
    assert predictor.contract.decoding is not None
    decoding = predictor.contract.decoding.model_copy(update={"seed": 0})
    expected = predictor.predict_columns(predictor.reader.parse_rows(rows), decoding)
    difference = 0.0
    for row, (answer, (score, text)) in enumerate(zip(answers, expected.tolist(), strict=True)):
        if answer["text"] != text:
            raise PipelineError(
                f"release {inputs.release} of {inputs.endpoint} answers row {row} of the held-out rows with "
                f"{answer['text'][:80]!r}, and its bundle writes {text[:80]!r}; it gets no traffic"
            )
        difference = max(difference, abs(answer["log_probability"] - score))
    print(f"{len(rows)} held-out rows over HTTP, the texts that the bundle writes")
    return Verified(rows=len(rows), max_abs_difference=difference)


def _boxes(inputs: VerifyInputs, context: StepContext, url: str, columns: Columns) -> Verified:
    """Every row's boxes beside those that the trained model's own answers give, decoded here.

    A box whose score or overlap is a rounding away from a limit may be there in one of the two only: so one in a
    hundred may lack its like.
    """
    _, transforms = read_contract(inputs.prepared, context.store)
    contract = open_bundle(fetch_bundle(context.home, inputs.packaged.bundle)).contract
    assert transforms.box_target is not None and contract.detection is not None
    reference = np.load(context.store.fetch(inputs.winner.reference), allow_pickle=False)
    sizes = np.tile(transforms.box_target.size, (len(reference), 1))
    wanted = detect(reference, transforms.box_target, contract.detection, sizes)
    expected: list[Any] = list(contract.predictions(wanted))
    answers = _asked(url, columns, chunk_rows(contract.model_dump(mode="json")))
    differences: list[float] = []
    lonely = boxes = 0
    for answer, known in zip(answers, expected, strict=True):
        found = [_nearest(box, known["boxes"]) for box in answer["boxes"]]
        like = [difference for difference in found if difference <= CLOSE]
        differences += like
        boxes += max(len(found), len(known["boxes"]))
        lonely += max(len(found), len(known["boxes"])) - len(like)
    if lonely > MOST_LONELY * boxes:
        raise PipelineError(
            f"release {inputs.release} of {inputs.endpoint} answers {lonely} of {boxes} boxes of the held-out rows "
            "otherwise than the trained model; it gets no traffic"
        )
    largest = max(differences, default=0.0)
    print(
        f"{len(expected)} held-out rows over HTTP, {boxes} boxes, {lonely} without their like, largest difference "
        f"{largest:.3g}"
    )
    return Verified(rows=len(expected), max_abs_difference=largest)


def _asked(url: str, columns: Columns, step: int) -> list[Any]:
    """The endpoint's answers to all rows, `step` of them a request."""
    answers: list[Any] = []
    with Client(url, proof=True) as client:
        for start in range(0, rows_of(columns), step):
            part = {name: column[start : start + step] for name, column in columns.items()}
            answers += client.predict(sample_rows(part, step))
    return answers


def _nearest(box: dict[str, Any], others: list[dict[str, Any]]) -> float:
    """How far the most similar box of the same label is, by its score or by a corner in pixels."""
    apart = (
        np.abs(np.subtract([box["score"], *box["box"]], [other["score"], *other["box"]])).max()
        for other in others
        if other["label"] == box["label"]
    )
    return float(min(apart, default=np.inf))
