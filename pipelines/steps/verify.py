"""verify: replay held-out rows and probes against the new release over HTTP and compare with the trained model.

A model of texts is compared on every row when it is packaged; here its texts for a few rows and probes must equal those
that the bundle writes in this process. Boxes must match those decoded from the trained model's outputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tidegate.models.data.columns import Columns, load_columns, rows_of
from tidegate.models.decoding.detections import detect
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.answers import as_answers, scales_of
from tidegate.models.probing.probes import Probes, load_probes
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.release import VerifyInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.measurements import PROBES
from tidegate.serving.contract.answers import numbers_of, told_of
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.release import load
from tidegate.serving.inference.bulk_scoring import chunk_rows
from tidegate.serving.inference.predictor import Predictor, sample_rows
from tidegate.serving.inference.probing import output_tolerances, probe_tolerances

Connect = Callable[[], Client]
MAX_TEXTS = 16
BOX_TOLERANCE = 0.05  # difference in a box's score, or in its corners in pixels
MAX_UNMATCHED = 0.01  # share of all boxes


class Verified(StepPart):
    """How far the answers differ from the trained model's.

    Attributes:
        rows: held-out rows and probes compared.
        max_abs_difference: over all rows and outputs.
    """

    rows: int
    max_abs_difference: float


def run(inputs: VerifyInputs, context: StepContext) -> Verified:
    """Request predictions and compare them.

    Raises:
        PipelineError: an answer differs by more than the bundle's tolerance; the release gets no traffic.
        ClientError: the server rejected a row or did not answer.
    """
    schema, _ = read_contract(inputs.prepared, context.store)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    connect = _connector(inputs, context)
    columns = {field.name: columns[field.name] for field in schema.inputs}
    if schema.target.task == "detection":
        return _verify_boxes(inputs, context, connect, columns)
    if schema.target.task == "generation":
        return _verify_texts(inputs, context, connect, columns)
    rows = sample_rows(columns, rows_of(columns))
    with connect() as client:
        answers = client.predict(rows)
    reference = np.load(context.store.fetch(inputs.winner.reference), allow_pickle=False)
    known = as_answers(schema.target, reference)
    difference = np.abs(numbers_of(schema.target, answers) - told_of(schema.target, known))
    if schema.target.outputs is not None:
        difference /= told_of(schema.target, scales_of(schema.target, known)[None, :])
    worst = int(difference.max(axis=1).argmax())
    largest = float(difference.max())
    if not largest <= inputs.packaged.tolerance:
        raise PipelineError(
            f"release {inputs.release} of {inputs.endpoint} answers row {worst} of the held-out rows "
            f"{largest:.3g} away from the trained model; allowed is {inputs.packaged.tolerance:.3g}; "
            "it gets no traffic"
        )
    print(f"{len(rows)} held-out rows over HTTP, largest difference {largest:.3g}")
    probed = _verify_probes(inputs, context, connect, schema)
    return Verified(rows=len(rows) + probed.rows, max_abs_difference=max(largest, probed.max_abs_difference))


def _connector(inputs: VerifyInputs, context: StepContext) -> Connect:
    """What connects to the release, with its key where it needs one."""
    place, state = hosting(context.home), load(context.home.store, inputs.endpoint)
    url = place.private_url(state, inputs.release)
    return partial(Client, url, key=place.key(state, inputs.release), proof=True)


def _verify_probes(inputs: VerifyInputs, context: StepContext, connect: Connect, schema: Schema) -> Verified:
    """Replay the bundle's probes; no rows for a bundle of an older version."""
    probes = _probes(inputs, context)
    if probes is None:
        return Verified(rows=0, max_abs_difference=0.0)
    contract = open_bundle(fetch_bundle(context.home, inputs.packaged.bundle)).contract
    answers = _predict_all(connect, probes.columns, chunk_rows(contract.model_dump(mode="json")))
    known = as_answers(schema.target, probes.answers)
    told = told_of(schema.target, known)
    differences = np.abs(numbers_of(schema.target, answers) - told)
    if schema.target.outputs is None:
        shares = differences.max(axis=1) / probe_tolerances(schema.target.task, probes)
    else:
        allowed = told_of(schema.target, output_tolerances(schema.target, known, probes))
        shares = (differences / allowed).max(axis=1)
    worst = int(shares.argmax())
    if not shares[worst] <= 1:
        raise PipelineError(
            f"release {inputs.release} of {inputs.endpoint} answers {PROBES[probes.kinds[worst]]} "
            f"{differences[worst].max():.3g} away from the trained model, {shares[worst]:.3g} times what is allowed; "
            "it gets no traffic"
        )
    largest = float(differences.max())
    print(
        f"{len(known)} probes over HTTP, {shares[worst]:.2g} of what is allowed, largest difference {largest:.3g}"
    )
    return Verified(rows=len(known), max_abs_difference=largest)


def _probes(inputs: VerifyInputs, context: StepContext) -> Probes | None:
    """The bundle's probes; None in a bundle of an older version."""
    path = open_bundle(fetch_bundle(context.home, inputs.packaged.bundle)).probes
    return None if path is None else load_probes(path)


def _verify_texts(inputs: VerifyInputs, context: StepContext, connect: Connect, columns: Columns) -> Verified:
    predictor = Predictor.of(fetch_bundle(context.home, inputs.packaged.bundle))
    few = min(MAX_TEXTS, predictor.contract.most_rows or MAX_TEXTS)
    parts = [sample_rows(columns, few)]
    if (probes := _probes(inputs, context)) is not None:
        parts.append(sample_rows({name: probes.columns[name] for name in columns}, few))
    rows = [row for part in parts for row in part]
    with connect() as client:
        answers = [answer for part in parts for answer in client.predict(part, decoding={"seed": 0})]
    assert predictor.contract.decoding is not None
    decoding = predictor.contract.decoding.model_copy(update={"seed": 0})
    expected = predictor.predict_columns(predictor.reader.parse_rows(rows), decoding)
    difference = 0.0
    for row, (answer, (score, text)) in enumerate(zip(answers, expected.tolist(), strict=True)):
        if answer["text"] != text:
            raise PipelineError(
                f"release {inputs.release} of {inputs.endpoint} answers row {row} of its rows and probes with "
                f"{answer['text'][:80]!r}; expected {text[:80]!r}, which its bundle writes; it gets no traffic"
            )
        difference = max(difference, abs(answer["log_probability"] - score))
    print(f"{len(rows)} held-out rows and probes over HTTP, the same texts as the bundle writes")
    return Verified(rows=len(rows), max_abs_difference=difference)


def _verify_boxes(inputs: VerifyInputs, context: StepContext, connect: Connect, columns: Columns) -> Verified:
    """Compare the boxes of every row with those decoded here from the trained model's outputs.

    A box whose score or overlap is very close to a limit may be in one of the two only, because of rounding: so one
    in a hundred may have no match.
    """
    _, transforms = read_contract(inputs.prepared, context.store)
    contract = open_bundle(fetch_bundle(context.home, inputs.packaged.bundle)).contract
    assert transforms.box_target is not None and contract.detection is not None
    reference = np.load(context.store.fetch(inputs.winner.reference), allow_pickle=False)
    if (probes := _probes(inputs, context)) is not None:
        columns = {name: np.concatenate([column, probes.columns[name]]) for name, column in columns.items()}
        reference = np.concatenate([reference, probes.answers])
    sizes = np.tile(transforms.box_target.size, (len(reference), 1))
    wanted = detect(reference, transforms.box_target, contract.detection, sizes)
    expected: list[Any] = list(contract.predictions(wanted))
    answers = _predict_all(connect, columns, chunk_rows(contract.model_dump(mode="json")))
    differences: list[float] = []
    unmatched = boxes = 0
    for answer, known in zip(answers, expected, strict=True):
        found = [_distance_to_nearest(box, known["boxes"]) for box in answer["boxes"]]
        matched = [difference for difference in found if difference <= BOX_TOLERANCE]
        differences += matched
        boxes += max(len(found), len(known["boxes"]))
        unmatched += max(len(found), len(known["boxes"])) - len(matched)
    if unmatched > MAX_UNMATCHED * boxes:
        raise PipelineError(
            f"release {inputs.release} of {inputs.endpoint} answers its rows and probes with {unmatched} of {boxes} "
            f"boxes that do not match the trained model's; allowed is {MAX_UNMATCHED:.0%}; it gets no traffic"
        )
    largest = max(differences, default=0.0)
    print(
        f"{len(expected)} held-out rows and probes over HTTP, {boxes} boxes, {unmatched} without a match, "
        f"largest difference {largest:.3g}"
    )
    return Verified(rows=len(expected), max_abs_difference=largest)


def _predict_all(connect: Connect, columns: Columns, step: int) -> list[Any]:
    """The endpoint's answers to all rows, `step` rows per request."""
    answers: list[Any] = []
    with connect() as client:
        for start in range(0, rows_of(columns), step):
            part = {name: column[start : start + step] for name, column in columns.items()}
            answers += client.predict(sample_rows(part, step))
    return answers


def _distance_to_nearest(box: dict[str, Any], others: list[dict[str, Any]]) -> float:
    """Distance to the nearest box of the same label: the largest difference in score or corners (pixels)."""
    distances = (
        np.abs(np.subtract([box["score"], *box["box"]], [other["score"], *other["box"]])).max()
        for other in others
        if other["label"] == box["label"]
    )
    return float(min(distances, default=np.inf))
