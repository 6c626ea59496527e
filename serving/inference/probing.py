"""Compares a served model with the trained one on probes: its answers, and what stands before its last activation."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.answers import as_answers, parts_of, scales_of
from tidegate.models.probing.probes import Probes, ask
from tidegate.serving.bundle.measurements import Probed
from tidegate.serving.errors import ParityError
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.runtimes import Run

TOLERANCE = 1e-4  # of answers, as for held-out rows
BEFORE_TOLERANCE = 5e-5  # of what stands before the last activation, relative to its largest value
ROUNDING = 1e-5  # of the same: what two machines may differ by, which moves probabilities by half of it
SMALLEST_SCALE = 1e-2
LEAST = 1e-30  # probabilities below say nothing
BATCH = 256
PROBABILITIES = (
    "classification",
    "multilabel",
    "segmentation",
    "tagging",
    "generation",
)  # tasks that answer them


def measure_probes(predictor: Predictor, before: Run | None, probes: Probes) -> Probed:
    """Compare a predictor with the trained model.

    Probabilities are compared as they are, numbers and boxes relative to their scale. What stands before the last
    softmax or sigmoid is compared relative to its largest value in the row or in held-out ones; where the served model
    does not show it, logarithms of the probabilities are.

    Args:
        predictor: of the served model.
        before: returns what it computes before its last activation; None if it does not show it.
        probes: made with the trained model.

    Raises:
        ParityError: it answers in another shape.
    """
    answers = _asked(predictor, probes)
    target = predictor.contract.target_
    if predictor.contract.outputs is not None:
        allowed = output_tolerances(target, as_answers(target, probes.answers), probes)
        return _probed_outputs(target, answers, probes, allowed)
    differences = _largest(answers, probes.answers)
    shares = differences / probe_tolerances(predictor.contract.task, probes)
    inner = _before(predictor, before, probes)
    shares[: len(inner)] = np.maximum(shares[: len(inner)], inner)
    return _probed(differences, shares, probes)


class AnswerCheck:
    """Compares answers to some of the probes, for a replica, which has no second model that shows more.

    What is allowed follows from all probes, as when the release was packaged. Of a softmax, logarithms are compared
    too, which show what stands before it: they may differ by twice as much, as each is one of these numbers less a sum
    over all of them. Of a sigmoid they are not: runtimes differ in its tails, where only the answers count.

    Args:
        predictor: of the served model.
        probes: all of the bundle.
        chosen: places of the rows that are asked.
    """

    def __init__(self, predictor: Predictor, probes: Probes, chosen: NDArray[np.integer]) -> None:
        self._predictor = predictor
        self._probes = Probes(
            take(probes.columns, chosen),
            [probes.kinds[row] for row in chosen],
            probes.answers[chosen],
            None,
            probes.scale,
        )
        contract = predictor.contract
        self._scales = np.zeros(0)
        if contract.outputs is not None:
            known = as_answers(contract.target_, probes.answers)
            self._allowed = output_tolerances(contract.target_, known, probes)[chosen]
            return
        self._allowed = probe_tolerances(contract.task, probes)[chosen]
        before = probes.before
        if (
            before is not None
            and contract.task in PROBABILITIES
            and contract.decoding is None
            and _sums(probes)
        ):
            logarithms = _logarithms(probes.answers[: len(before)])
            scales = np.maximum(_scales_before(before, probes), _scales_before(logarithms, probes))
            self._scales = scales[chosen[chosen < len(before)]]

    def measure(self) -> Probed:
        """Ask, and compare; raises ParityError if it answers in another shape."""
        probes, contract = self._probes, self._predictor.contract
        answers = _asked(self._predictor, probes)
        if contract.outputs is not None:
            return _probed_outputs(contract.target_, answers, probes, self._allowed)
        differences = _largest(answers, probes.answers)
        shares = differences / self._allowed
        first = len(self._scales)
        if first:
            apart = _largest(_logarithms(answers[:first]), _logarithms(probes.answers[:first]))
            shares[:first] = np.maximum(shares[:first], apart / (2 * BEFORE_TOLERANCE * self._scales))
        return _probed(differences, shares, probes)


def _sums(probes: Probes) -> bool:
    """Whether the answers are those of a softmax: more than one probability, which add up to 1."""
    return probes.answers.shape[-1] > 1 and bool(np.allclose(probes.answers.sum(axis=-1), 1, atol=1e-3))


def _asked(predictor: Predictor, probes: Probes) -> NDArray[np.float32]:
    answers = _in_batches(partial(ask, predictor.run, predictor.transforms), probes.columns)
    if answers.shape != probes.answers.shape:
        raise ParityError(
            f"the served model answered {answers.shape}, the trained one {probes.answers.shape}; expected equal "
            "shapes; export the model again"
        )
    return answers


def output_tolerances(target: Target, known: NDArray[np.floating], probes: Probes) -> NDArray[np.float64]:
    """Of several outputs the difference that is allowed in each number of `as_answers`, `(n, units)`.

    Probabilities may differ by TOLERANCE, numbers by as much of the output's largest value in the row or in held-out
    ones.
    """
    held_out = known[[kind == "held-out" for kind in probes.kinds]]
    scales = np.tile(scales_of(target, held_out), (len(known), 1))
    for output, part in parts_of(target):
        if output.task == "regression":
            rows = np.abs(known[:, part]).max(axis=1, keepdims=True)
            scales[:, part] = np.maximum(scales[:, part], rows)
    return np.asarray(TOLERANCE * scales)


def _probed_outputs(
    target: Target, answers: NDArray[np.float32], probes: Probes, allowed: NDArray[np.float64]
) -> Probed:
    found, known = as_answers(target, answers), as_answers(target, probes.answers)
    shares = np.nan_to_num(np.abs(found.astype(np.float64) - known) / allowed, nan=np.inf)
    return _probed(_largest(found, known), shares.max(axis=1), probes)


def _probed(differences: NDArray[np.float64], shares: NDArray[np.float64], probes: Probes) -> Probed:
    worst = int(shares.argmax())
    return Probed(
        rows=len(shares),
        max_abs_difference=float(differences.max()),
        share=float(shares[worst]),
        different=int((~(shares <= 1)).sum()),
        kind=probes.kinds[worst],
        row=worst,
    )


def probe_tolerances(task: str, probes: Probes) -> NDArray[np.float64]:
    """The difference in an answer that is allowed in each row, `(n,)`.

    Of probabilities TOLERANCE, and more only where what stands before them is so large that rounding alone moves them.
    """
    if task in PROBABILITIES:
        allowed = np.full(len(probes.answers), TOLERANCE)
        if probes.before is not None:
            moved = ROUNDING / 2 * _scales_before(probes.before, probes)
            allowed[: len(moved)] = np.maximum(TOLERANCE, moved)
        return allowed
    return TOLERANCE * np.maximum(_scales(probes.answers), max(probes.scale, SMALLEST_SCALE))


def _before(predictor: Predictor, before: Run | None, probes: Probes) -> NDArray[np.float64]:
    """Of the first rows the difference before the last activation, as a share of what is allowed."""
    if predictor.contract.task not in PROBABILITIES or probes.before is None:
        return np.zeros(0)
    rows = {name: column[: len(probes.before)] for name, column in probes.columns.items()}
    if before is not None:
        run = before
        found = _in_batches(lambda part: run(predictor.transforms.apply(part)), rows)
        if found.shape == probes.before.shape:
            return _largest(found, probes.before) / (BEFORE_TOLERANCE * _scales_before(probes.before, probes))
    if predictor.contract.task == "generation":
        return np.zeros(0)
    found = _in_batches(lambda part: predictor.run(predictor.transforms.apply(part)), rows)
    theirs = _logarithms(probes.answers[: len(found)])
    return _largest(_logarithms(found), theirs) / (BEFORE_TOLERANCE * _scales_before(theirs, probes))


def _logarithms(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), LEAST)))


def _largest(found: NDArray[np.floating], known: NDArray[np.floating]) -> NDArray[np.float64]:
    """The largest absolute difference in each row; infinite where a number is not finite."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(found.astype(np.float64) - known.astype(np.float64)).reshape(len(known), -1)
    return np.asarray(np.nan_to_num(difference.max(axis=1), nan=np.inf))


def _scales_before(known: NDArray[np.floating], probes: Probes) -> NDArray[np.float64]:
    """What differences before the last activation are compared with: its largest value in a row, or in held-out ones.

    At the boundary between two classes it is the small difference of large numbers.
    """
    scales = _scales(known)
    held_out = [kind == "held-out" for kind in probes.kinds[: len(known)]]
    return np.maximum(scales, max(1.0, scales[held_out].max(initial=0)))


def _scales(known: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.abs(known.astype(np.float64)).reshape(len(known), -1).max(axis=1))


def _in_batches(run: Run | partial[NDArray[np.float32]], columns: Columns) -> NDArray[np.float32]:
    """One row alone, then the others together, because a file may have been made for one number of rows."""
    ends = [0, 1, *range(1 + BATCH, rows_of(columns) + BATCH, BATCH)]
    parts = [
        run({name: column[start:stop] for name, column in columns.items()})
        for start, stop in pairwise(ends)
        if start < rows_of(columns)
    ]
    return np.concatenate(parts)
