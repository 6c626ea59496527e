"""A release that has no traffic yet is asked over HTTP, and must answer as the trained model did."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of
from tidegate.models.decoding.detections import detect
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import Probes, load_probes
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.replay import Replayed
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.measurements import PROBES
from tidegate.serving.contract.answers import numbers_of, told_of
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.release import load
from tidegate.serving.inference.bulk_scoring import chunk_rows
from tidegate.serving.inference.predictor import Predictor, sample_rows
from tidegate.serving.inference.probing import output_tolerances, probe_tolerances

MAX_TEXTS = 16
BOX_TOLERANCE = 0.05  # difference in a box's score, or in its corners in pixels
MAX_UNMATCHED = 0.01  # share of all boxes
NO_TRAFFIC = "it gets no traffic"


class Verified(StepPart):
    """How far the answers differ from the trained model's.

    Attributes:
        rows: held-out rows and probes compared.
        max_abs_difference: over all rows and outputs.
        replay: how it answered what the live release recorded; None where nothing is recorded, or this one is live.
    """

    rows: int
    max_abs_difference: float
    replay: Replayed | None = None


class Candidate:
    """A release that has no traffic yet.

    Args:
        home: of the endpoint.
        endpoint: its name.
        number: the release's.
    """

    def __init__(self, home: Home, endpoint: str, number: int) -> None:
        place, state = hosting(home), load(home.store, endpoint)
        self.name = f"release {number} of {endpoint}"
        self.bundle = open_bundle(fetch_bundle(home, state.release(number).bundle))
        self._url, self._key = place.private_url(state, number), place.key(state, number)
        self._trust = place.trust(state)

    @property
    def probes(self) -> Probes | None:
        """The bundle's; None in a bundle of an older version."""
        return None if self.bundle.probes is None else load_probes(self.bundle.probes)

    def connect(self) -> Client:
        """A connection to it, with its key where it needs one."""
        return Client(self._url, key=self._key, proof=True, trust=self._trust)

    def predict(self, columns: Columns) -> list[Any]:
        """Its answers to all rows, as many per request as it takes."""
        step, answers = chunk_rows(self.bundle.contract.model_dump(mode="json")), list[Any]()
        with self.connect() as client:
            for start in range(0, rows_of(columns), step):
                part = {name: column[start : start + step] for name, column in columns.items()}
                answers += client.predict(sample_rows(part, step))
        return answers


def prove(candidate: Candidate) -> Verified:
    """Replay the bundle's probes, where nothing else is there of the run that made it.

    Raises:
        PipelineError: the bundle has none, or an answer differs by more than is allowed.
        ClientError: the server rejected a row or did not answer.
    """
    contract, probes = candidate.bundle.contract, candidate.probes
    if probes is None:
        raise PipelineError(
            f"{candidate.name} has no golden rows: an earlier version of Tidegate packaged it; expected some, by which "
            "it is proved; submit its experiment again"
        )
    schema = contract.schema_
    if schema.target.task == "detection":
        return verify_boxes(candidate, candidate.bundle.transforms, probes.columns, probes.answers)
    if schema.target.task == "generation":
        return verify_texts(candidate, [probes.columns])
    return verify_probes(candidate, schema, probes)


def verify_probes(candidate: Candidate, schema: Schema, probes: Probes) -> Verified:
    """Replay probes; raises PipelineError for an answer that differs by more than is allowed for its row."""
    answers = candidate.predict(probes.columns)
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
            f"{candidate.name} answers {PROBES[probes.kinds[worst]]} {differences[worst].max():.3g} away from the "
            f"trained model, {shares[worst]:.3g} times what is allowed; {NO_TRAFFIC}"
        )
    largest = float(differences.max())
    print(
        f"{len(known)} probes over HTTP, {shares[worst]:.2g} of what is allowed, largest difference {largest:.3g}"
    )
    return Verified(rows=len(known), max_abs_difference=largest)


def verify_texts(candidate: Candidate, parts: list[Columns]) -> Verified:
    """Compare a few texts of each part with those that the bundle writes in this process."""
    predictor = Predictor.of(candidate.bundle)
    few = min(MAX_TEXTS, predictor.contract.most_rows or MAX_TEXTS)
    names = [field.name for field in predictor.contract.inputs]
    asked = [sample_rows({name: columns[name] for name in names}, few) for columns in parts]
    rows = [row for part in asked for row in part]
    with candidate.connect() as client:
        answers = [answer for part in asked for answer in client.predict(part, decoding={"seed": 0})]
    assert predictor.contract.decoding is not None
    decoding = predictor.contract.decoding.model_copy(update={"seed": 0})
    expected = predictor.predict_columns(predictor.reader.parse_rows(rows), decoding)
    difference = 0.0
    for row, (answer, (score, text)) in enumerate(zip(answers, expected.tolist(), strict=True)):
        if answer["text"] != text:
            raise PipelineError(
                f"{candidate.name} answers row {row} of its rows and probes with {answer['text'][:80]!r}; expected "
                f"{text[:80]!r}, which its bundle writes; {NO_TRAFFIC}"
            )
        difference = max(difference, abs(answer["log_probability"] - score))
    print(f"{len(rows)} held-out rows and probes over HTTP, the same texts as the bundle writes")
    return Verified(rows=len(rows), max_abs_difference=difference)


def verify_boxes(
    candidate: Candidate, transforms: Transforms, columns: Columns, reference: NDArray[np.floating]
) -> Verified:
    """Compare the boxes of every row with those decoded here from the trained model's outputs.

    A box whose score or overlap is very close to a limit may be in one of the two only, because of rounding: so one
    in a hundred may have no match.

    Args:
        candidate: the release.
        transforms: of its data.
        columns: the rows.
        reference: the trained model's outputs for them.
    """
    contract = candidate.bundle.contract
    assert transforms.box_target is not None and contract.detection is not None
    sizes = np.tile(transforms.box_target.size, (len(reference), 1))
    wanted = detect(reference, transforms.box_target, contract.detection, sizes)
    expected: list[Any] = list(contract.predictions(wanted))
    answers = candidate.predict(columns)
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
            f"{candidate.name} answers its rows and probes with {unmatched} of {boxes} boxes that do not match the "
            f"trained model's; allowed is {MAX_UNMATCHED:.0%}; {NO_TRAFFIC}"
        )
    largest = max(differences, default=0.0)
    print(
        f"{len(expected)} held-out rows and probes over HTTP, {boxes} boxes, {unmatched} without a match, "
        f"largest difference {largest:.3g}"
    )
    return Verified(rows=len(expected), max_abs_difference=largest)


def _distance_to_nearest(box: dict[str, Any], others: list[dict[str, Any]]) -> float:
    """Distance to the nearest box of the same label: the largest difference in score or corners (pixels)."""
    distances = (
        np.abs(np.subtract([box["score"], *box["box"]], [other["score"], *other["box"]])).max()
        for other in others
        if other["label"] == box["label"]
    )
    return float(min(distances, default=np.inf))
