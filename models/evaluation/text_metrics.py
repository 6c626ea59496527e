"""How good a text model is: on the tokens of held-out texts, and by the texts that it generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.config.losses import IGNORED_TOKEN
from tidegate.models.data.columns import Columns, rows_of, take
from tidegate.models.decoding.settings import Decoding
from tidegate.models.decoding.texts import Run, decode
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.evaluation.metrics import SMALLEST
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.text_target import TextTarget
from tidegate.models.preprocessing.transforms import Transforms

ROWS = 128  # rows whose token probabilities are in memory at once
DECODED_TOGETHER = 512  # rows
MOST_DECODED = 4096  # held-out rows that are decoded for the error rate, evenly spread


def token_probabilities(
    run: Run, inputs: Mapping[str, NDArray[Any]], labels: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Probabilities that a model gives to the tokens of held-out texts, float32 `(n, 2, steps)`.

    At each step, given the true tokens before it: the probability of the true token, and that of the most probable
    token; 1 after the end of a text. These two numbers are all that is compared between two runtimes, and all that
    `evaluate_tokens` needs; the model itself returns one number for each token of the vocabulary.

    Args:
        run: the model.
        inputs: model inputs of `n` rows, including `prefix`.
        labels: `(n, steps)`, see `TextTarget.encode`.
    """
    found = np.ones((len(labels), 2, labels.shape[1]), np.float32)
    for start in range(0, len(labels), ROWS):
        part = slice(start, start + ROWS)
        answered = run({name: array[part] for name, array in inputs.items()})
        there = labels[part] != IGNORED_TOKEN
        token = np.where(there, labels[part], 0)[:, :, None]
        found[part, 0] = np.where(there, np.take_along_axis(answered, token, axis=2)[:, :, 0], 1)
        found[part, 1] = np.where(there, answered.max(axis=2), 1)
    return found


def evaluate_tokens(labels: NDArray[np.integer], found: NDArray[np.floating]) -> Evaluation:
    """Loss (nats per token), perplexity and accuracy of what `token_probabilities` found.

    Perplexity is exp of the loss: Jelinek, Mercer, Bahl, Baker, "Perplexity - a measure of the difficulty of speech
    recognition tasks", 1977. A token counts as right where no other is more probable. Undefined without a token.
    """
    there = labels != IGNORED_TOKEN
    true, best = found[:, 0][there].astype(np.float64), found[:, 1][there]
    if not there.any() or not np.isfinite(true).all():
        reason = "a token's probability is no finite number" if there.any() else "the rows have no text"
        return Evaluation.without(("loss", "perplexity", "accuracy"), reason)
    loss = float(-np.mean(np.log(np.maximum(true, SMALLEST))))
    right = float(np.mean(found[:, 0][there] >= best))
    return Evaluation.of({"loss": loss, "perplexity": float(np.exp(loss)), "accuracy": right})


def character_perplexity(
    text_target: TextTarget, labels: NDArray[np.integer], found: NDArray[np.floating]
) -> Evaluation:
    """`perplexity_per_character`, by which models of different tokens are compared.

    It is exp of all tokens' losses together, divided by their number of characters and ends of a text. A model of
    characters has it as its perplexity.
    """
    losses, characters, _ = character_sums(text_target, labels, found).sum(axis=0)
    whole = bool(characters) and bool(np.isfinite(losses))
    measured = float(np.exp(losses / characters)) if whole else "a token's probability is no finite number"
    return Evaluation.of({"perplexity_per_character": measured if characters else "the rows have no text"})


def character_sums(
    text_target: TextTarget, labels: NDArray[np.integer], found: NDArray[np.floating]
) -> NDArray[np.float64]:
    """As `token_sums`, with the number of characters and ends of a text in place of that of tokens."""
    sums = token_sums(labels, found)
    sums[:, 1] = text_target.characters(labels).sum(axis=1)
    return sums


def token_sums(labels: NDArray[np.integer], found: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each text, float64 `(n, 3)`: the sum of the losses of its tokens, their number, and how many are right."""
    there = labels != IGNORED_TOKEN
    losses = np.where(there, -np.log(np.maximum(found[:, 0].astype(np.float64), SMALLEST)), 0.0)
    right = there & (found[:, 0] >= found[:, 1])
    return np.stack([losses.sum(axis=1), there.sum(axis=1), right.sum(axis=1)], axis=1).astype(np.float64)


def error_rate(
    run: Run, schema: Schema, transforms: Transforms, columns: Columns, decoding: Decoding
) -> Evaluation:
    """`error_rate` of the texts decoded for held-out rows; a language model, with no single right text, has none.

    The number of edits in all rows divided by the number of true tokens in all rows: the word error rate of speech
    recognition, with these tokens. 0 is best; it may be above 1.
    """
    text_target = transforms.text_target
    if text_target is None or schema.target.prompt is not None or not rows_of(columns):
        return Evaluation()
    rows = rows_of(columns)
    chosen = take(columns, np.arange(0, rows, -(-rows // MOST_DECODED)))
    inputs = transforms.apply({field.name: chosen[field.name] for field in schema.inputs})
    truth = [text_target.token_ids(text) for text in chosen[text_target.name].tolist()]
    edits = 0
    for start in range(0, len(truth), DECODED_TOGETHER):
        part = slice(start, start + DECODED_TOGETHER)
        prompts: list[list[int]] = [[]] * len(truth[part])
        batch = {name: array[part] for name, array in inputs.items()}
        texts = decode(run, text_target, batch, prompts, decoding)
        edits += sum(edit_distance(text.tokens, true) for text, true in zip(texts, truth[part], strict=True))
    tokens = sum(map(len, truth))
    return Evaluation.of({"error_rate": edits / tokens if tokens else "the rows have no text"})


def edit_distance(first: Sequence[int], second: Sequence[int]) -> int:
    """The smallest number of insertions, deletions and replacements that turns one sequence into the other.

    Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.
    """
    before = list(range(len(second) + 1))
    for place, one in enumerate(first, 1):
        row = [place]
        for other, known in enumerate(second):
            row.append(min(before[other] + (one != known), before[other + 1] + 1, row[other] + 1))
        before = row
    return before[-1]


def evaluate_rows(
    run: Run, schema: Schema, transforms: Transforms, columns: Columns, decoding: Decoding
) -> Evaluation:
    """All metrics of raw held-out rows."""
    labels = transforms.target(schema, columns)
    found = token_probabilities(run, transforms.apply(columns), labels)
    assert transforms.text_target is not None
    found_per_character = character_perplexity(transforms.text_target, labels, found)
    of_texts = error_rate(run, schema, transforms, columns, decoding)
    return evaluate_tokens(labels, found) | found_per_character | of_texts
