"""A model's raw outputs as answers `(n, units)`: of every task one table of numbers, which is compared and served.

A model of several outputs answers them side by side, in the order of their names; an answer with a shape of its own is
flattened row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.preprocessing.schema import Target

Floats = NDArray[np.float32]


def as_answers(target: Target, raw: NDArray[np.floating]) -> Floats:
    """The answers in a model's raw outputs.

    Args:
        target: what is predicted, of one output or several.
        raw: float `(n, ...)`; of several outputs side by side, see `networks.predict`.

    Returns:
        float32 `(n, units)`: one sigmoid `p` of two classes becomes `[1 - p, p]`, at each place of a segmentation; the
        quantiles of a forecast's step are in ascending order, which makes their loss no larger: Chernozhukov,
        Fernandez-Val, Galichon, "Quantile and Probability Curves Without Crossing", Econometrica 78(3), 2010.
    """
    flat = np.asarray(raw, np.float32)
    flat = flat.reshape(len(flat), -1)
    if target.quantiles is not None and flat.shape[1] == target.units:
        return np.sort(by_step(target, flat), axis=2).reshape(len(flat), -1)
    outputs = target.outputs or (target,)
    widths = [one.units // 2 if _is_pair(one) else one.units for one in outputs]
    if flat.shape[1] in (target.units, 0) or flat.shape[1] != sum(widths):
        return flat  # whoever knows what was expected refuses another width
    parts = np.split(flat, np.cumsum(widths)[:-1], axis=1)
    pairs = zip(outputs, parts, strict=True)
    return np.concatenate([_of_two(part) if _is_pair(one) else part for one, part in pairs], axis=1)


def by_step(target: Target, answers: NDArray[Any]) -> NDArray[Any]:
    """A forecast's answers `(n, units)` as `(n, steps, quantiles)`."""
    return answers.reshape(len(answers), target.places, len(target.quantiles or ()))


def parts_of(target: Target) -> Iterator[tuple[Target, slice]]:
    """Each output, and where its numbers are in `as_answers`."""
    start = 0
    for output in target.outputs or ():
        yield output, slice(start, start + output.units)
        start += output.units


def truths_of(target: Target) -> Iterator[tuple[Target, slice]]:
    """Each output, and where its numbers are in `encode_target` of several: a class is one, labels are one each."""
    start = 0
    for output in target.outputs or ():
        width = truth_width(output)
        yield output, slice(start, start + width)
        start += width


def truth_width(output: Target) -> int:
    """How many numbers a row of the encoded target has."""
    if output.task == "classification":
        return 1
    return output.units if output.task == "multilabel" else output.places


def scales_of(target: Target, answers: NDArray[np.floating]) -> NDArray[np.float64]:
    """What differences are divided by, `(units,)`, so that several outputs have one tolerance.

    1 of probabilities and of a single output; of an output of numbers its largest answer, at least 1.
    """
    scales = np.ones(answers.shape[1])
    for output, part in parts_of(target):
        if output.task == "regression" and len(answers):
            scales[part] = max(1.0, float(np.abs(answers[:, part]).max()))
    return scales


def _is_pair(target: Target) -> bool:
    """Whether one sigmoid may stand for two probabilities."""
    return target.task in ("classification", "segmentation") and len(target.classes) == 2


def _of_two(p: Floats) -> Floats:
    return np.stack([1 - p, p], axis=-1).reshape(len(p), -1)
