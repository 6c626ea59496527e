"""How good a model of texts is: by the tokens that held-out texts have, and by the texts that it writes itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import NOTHING
from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.decoding.settings import Decoding
from tidegate.models.decoding.texts import Run, decode
from tidegate.models.evaluation.metrics import SMALLEST
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms

ROWS = 128  # whose tokens' chances are held at once
TOGETHER = 512  # rows that are decoded together
MOST_DECODED = 4096  # held-out rows that are decoded for their error rate, evenly spread


def chances(run: Run, inputs: Mapping[str, NDArray[Any]], wanted: NDArray[np.integer]) -> NDArray[np.float32]:
    """What a model says of each token of held-out texts, when it is given those before: float32 `(n, 2, steps)`.

    First the probability of the token that is there, then that of the most probable one; 1 behind a text's end. It is
    all that is compared of a text model, and all that `evaluate_tokens` needs: two numbers a place, where the model
    answers one for each token it knows.

    Args:
        run: the model.
        inputs: its inputs of `n` rows, the prefix among them.
        wanted: `(n, steps)`, see `Answers.wanted`.
    """
    found = np.ones((len(wanted), 2, wanted.shape[1]), np.float32)
    for start in range(0, len(wanted), ROWS):
        part = slice(start, start + ROWS)
        answered = run({name: array[part] for name, array in inputs.items()})
        there = wanted[part] != NOTHING
        token = np.where(there, wanted[part], 0)[:, :, None]
        found[part, 0] = np.where(there, np.take_along_axis(answered, token, axis=2)[:, :, 0], 1)
        found[part, 1] = np.where(there, answered.max(axis=2), 1)
    return found


def evaluate_tokens(wanted: NDArray[np.integer], found: NDArray[np.floating]) -> dict[str, float]:
    """Loss (nats a token), perplexity and accuracy of what `chances` found.

    Perplexity is exp of the loss: Jelinek, Mercer, Bahl, Baker, "Perplexity - a measure of the difficulty of speech
    recognition tasks", 1977. A token counts as right where no other is more probable.
    """
    there = wanted != NOTHING
    true, best = found[:, 0][there].astype(np.float64), found[:, 1][there]
    loss = float(-np.mean(np.log(np.maximum(true, SMALLEST))))
    return {
        "loss": loss,
        "perplexity": float(np.exp(loss)),
        "accuracy": float(np.mean(found[:, 0][there] >= best)),
    }


def error_rate(
    run: Run, schema: Schema, transforms: Transforms, columns: Columns, decoding: Decoding
) -> dict[str, float]:
    """`error_rate` of the texts decoded for held-out rows; nothing of a language model, whose text may go on anyhow.

    Edits over all rows by tokens of the true texts over all rows, the word error rate of speech recognition with
    these tokens: 0 is right, and it may be above 1.
    """
    answers = transforms.answers
    if answers is None or schema.target.prompt is not None or not rows_of(columns):
        return {}
    rows = rows_of(columns)
    chosen = take(columns, np.arange(0, rows, -(-rows // MOST_DECODED)))
    inputs = transforms.apply({field.name: chosen[field.name] for field in schema.inputs})
    truth = [answers.numbers(text) for text in chosen[answers.name].tolist()]
    edits = 0
    for start in range(0, len(truth), TOGETHER):
        part = slice(start, start + TOGETHER)
        leads: list[list[int]] = [[]] * len(truth[part])
        given = {name: array[part] for name, array in inputs.items()}
        texts = decode(run, answers, given, leads, decoding)
        edits += sum(distance(text.tokens, true) for text, true in zip(texts, truth[part], strict=True))
    return {"error_rate": edits / max(1, sum(map(len, truth)))}


def distance(first: Sequence[int], second: Sequence[int]) -> int:
    """Insertions, deletions and replacements from one sequence to the other, as few as there can be.

    Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.
    """
    before = list(range(len(second) + 1))
    for place, one in enumerate(first, 1):
        row = [place]
        for other, known in enumerate(second):
            row.append(min(before[other] + (one != known), before[other + 1] + 1, row[other] + 1))
        before = row
    return before[-1]


def judge(
    run: Run, schema: Schema, transforms: Transforms, columns: Columns, decoding: Decoding
) -> dict[str, float]:
    """All figures of raw held-out rows."""
    wanted = transforms.target(schema, columns)
    return evaluate_tokens(wanted, chances(run, transforms.apply(columns), wanted)) | error_rate(
        run, schema, transforms, columns, decoding
    )
