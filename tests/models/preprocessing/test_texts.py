"""Texts as answers: their tokens there and back, what a model is judged by, and decoding beside a slow reference."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from tidegate.models.config.losses import loss_named
from tidegate.models.decoding.settings import Decoding
from tidegate.models.decoding.texts import decode
from tidegate.models.errors import OptionsError, SchemaError
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.evaluation.text_metrics import (
    edit_distance,
    error_rate,
    evaluate_tokens,
    token_probabilities,
)
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.schema import Schema, Target
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.target.text_target import BOUNDARY, UNSEEN, TextTarget
from tidegate.models.preprocessing.transforms import Transforms

Columns = dict[str, Any]


def column(*texts: str | None) -> np.ndarray:
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


def answers_of(*texts: str | None, **reading: Any) -> TextTarget:
    target = Target(names=("text",), task="generation", **reading)
    return TextTarget.fit(target, {"text": column(*texts)})


@pytest.mark.parametrize("text", ["", "a", "banana", "æøå 水", " a  b "])
def test_characters_come_back_as_they_were(text: str) -> None:
    answers = answers_of("banana", "æøå 水", " a  b ")
    assert answers.text(tuple(answers.token_ids(text))) == text


def test_words_keep_case_and_marks_and_lose_only_how_wide_the_spaces_were() -> None:
    answers = answers_of("W ER1 D", "Go, now!", tokens="words")
    assert answers.text(tuple(answers.token_ids("Go,  now! \n W"))) == "Go, now! W"


def test_what_the_model_is_given_and_has_to_answer() -> None:
    answers = answers_of("ab", "b", length=3)
    a, b = answers.token_ids("ab")
    columns = {"text": column("ab", "", None, "abz", "abba")}
    assert answers.decoder_inputs(columns).tolist() == [
        [BOUNDARY, a, b, 0], [BOUNDARY, 0, 0, 0], [BOUNDARY, 0, 0, 0], [BOUNDARY, a, b, UNSEEN], [BOUNDARY, a, b, b],
    ]  # fmt: skip
    assert answers.encode(columns).tolist() == [
        [a, b, BOUNDARY, -1], [BOUNDARY, -1, -1, -1], [BOUNDARY, -1, -1, -1], [a, b, UNSEEN, BOUNDARY], [a, b, b, -1],
    ]  # fmt: skip


def test_a_megabyte_to_go_on_from_is_its_end() -> None:
    for tokens, text in (("characters", "ab" * 500_000 + "ba"), ("words", "a b " * 250_000 + "b a")):
        answers = answers_of("a b", tokens=tokens, length=4)
        assert answers.prompt_ids(text) == answers.token_ids("abba" if tokens == "characters" else "a b b a")
    assert answers.prompt_ids(None) == answers.prompt_ids("") == []


def test_the_vocabulary_is_the_most_frequent_and_data() -> None:
    answers = answers_of("aab", "abc", "a", vocabulary=2, length=5)
    assert answers.content == {
        "name": "text",
        "words": ["a", "b"],
        "length": 5,
        "tokens": "characters",
        "rule": 2,
    }
    again = TextTarget(**answers.content)
    assert again.token_ids("abcd") == answers.token_ids("abcd") == [2, 3, UNSEEN, UNSEEN]


def test_what_could_not_be_sent_is_never_written() -> None:
    answers = answers_of("a\ud83d\ud83d", "\ud83d")
    assert answers.content["words"] == ["a"]


def test_a_text_without_inputs_has_a_prompt(tmp_path: Any) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f'{{"text": "the river runs through {n}"}}\n' for n in range(20)))
    prepared = prepare(source=path, target=[{"name": "text", "kind": "text", "length": 30}])
    assert [field.name for field in prepared.schema.inputs] == ["prompt"]
    assert prepared.schema.target.prompt == "prompt" and prepared.schema.target.task == "generation"
    assert set(prepared.splits["test"]["prompt"]) == {"the"}
    specs = prepared.transforms.input_specs
    assert {name: (spec.shape, spec.kind) for name, spec in specs.items()} == {"prefix": ((31,), "prefix")}
    assert prepared.summary["target"]["most_tokens"] == 25
    again = Transforms.from_dict(prepared.transforms.to_dict())
    for name, array in prepared.transforms.apply(prepared.splits["test"]).items():
        np.testing.assert_array_equal(again.apply(prepared.splits["test"])[name], array)


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        ([{"name": "n", "kind": "text"}], None, "'n', which holds numbers"),
        ([{"name": "text", "kind": "text"}, "n"], None, "data.target is text, n; .*name one"),
        ([{"name": "text", "tokens": "words"}], "classification", "expected them only for a text"),
    ],
)
def test_what_is_no_text_is_told(tmp_path: Any, target: Any, task: str | None, said: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"text": "a b", "n": 1.5}\n' * 9)
    with pytest.raises(SchemaError, match=said):
        prepare(source=path, target=target, task=task)


def test_numbers_alone_are_no_text_to_go_on_with(tmp_path: Any) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"n": 1.5}\n' * 9)
    with pytest.raises(SchemaError, match="'n' has kind text and holds numbers"):
        prepare(source=path, target=["n"], task="generation")


def test_a_target_called_prompt_is_told(tmp_path: Any) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"prompt": "a b"}\n' * 9)
    with pytest.raises(SchemaError, match="rename the column"):
        prepare(source=path, target=[{"name": "prompt", "kind": "text"}])


def test_only_one_loss_is_for_texts() -> None:
    assert loss_named(None, "generation", 0).options == {"ignore_class": -1}
    with pytest.raises(OptionsError, match="'huber' does not fit a generation"):
        loss_named("huber", "generation", 0)


# A model of fixed chances: what follows depends on the row's own number and on all tokens so far.
ANSWERS = answers_of("abc", length=3)
VOCABULARY = ANSWERS.spec.vocabulary


@cache
def following(row: int, prefix: tuple[int, ...]) -> tuple[float, ...]:
    logs = np.random.default_rng([row, *prefix]).normal(size=VOCABULARY) * 2
    return tuple(np.exp(logs) / np.exp(logs).sum())


def model(inputs: dict[str, np.ndarray]) -> np.ndarray:
    found = np.zeros((*inputs["prefix"].shape, VOCABULARY), np.float32)
    for place, (row, prefix) in enumerate(
        zip(inputs["row"].tolist(), inputs["prefix"].tolist(), strict=True)
    ):
        for step in range(len(prefix)):
            found[place, step] = following(row, tuple(prefix[: step + 1]))
    return found


ROWS = {"row": np.arange(6)}
LEADS = [[], [2], [2, 3], [], [4, 4, 4], [UNSEEN]]
TEXT = (2, 3, 4)  # tokens that a text may have


def log(row: int, prefix: list[int], token: int) -> float:
    return float(np.log(np.float32(following(row, (BOUNDARY, *prefix))[token])))


def test_greedy_takes_the_most_probable_token_until_it_is_the_end() -> None:
    for row, found in enumerate(decode(model, ANSWERS, ROWS, LEADS, Decoding(method="greedy", max_length=5))):
        tokens: list[int] = []
        score = 0.0
        for _ in range(5):
            so_far = LEADS[row] + tokens
            token = max((BOUNDARY, *TEXT), key=lambda one, so_far=so_far: (log(row, so_far, one), -one))
            score += log(row, so_far, token)
            if token == BOUNDARY:
                break
            tokens.append(token)
        assert found.tokens == tuple(tokens)
        assert found.log_probability == pytest.approx(score)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_texts(penalty: float) -> None:
    settings = Decoding(method="beam", width=64, length_penalty=penalty, max_length=3)
    for row, found in enumerate(decode(model, ANSWERS, ROWS, LEADS, settings)):
        texts = {}
        for length in range(4):
            for tokens in product(TEXT, repeat=length):
                whole = [*tokens, BOUNDARY]
                texts[tokens] = sum(log(row, LEADS[row] + whole[:at], whole[at]) for at in range(len(whole)))
        best = max(texts, key=lambda tokens: texts[tokens] / (len(tokens) + 1) ** penalty)
        assert found.tokens == best
        assert found.log_probability == pytest.approx(texts[best])


def test_drawn_texts_repeat_with_a_seed_whatever_the_company() -> None:
    settings = Decoding(method="sample", temperature=0.8, seed=4, max_length=6)
    together = decode(model, ANSWERS, ROWS, LEADS, settings)
    for row in range(6):
        alone = decode(model, ANSWERS, {"row": np.array([row])}, [LEADS[row]], settings)
        assert alone[0].tokens == together[row].tokens
    others = decode(model, ANSWERS, ROWS, LEADS, settings.model_copy(update={"seed": 5}))
    assert [text.tokens for text in others] != [text.tokens for text in together]


def test_texts_are_drawn_as_often_as_they_are_probable() -> None:
    count = 4000
    rows = {"row": np.zeros(count, int)}
    settings = Decoding(method="sample", max_length=1)
    found = [text.tokens for text in decode(model, ANSWERS, rows, [[]] * count, settings)]
    known = np.array([following(0, (BOUNDARY,))[token] for token in (BOUNDARY, *TEXT)])
    counted = [found.count(text) for text in ((), (2,), (3,), (4,))]
    np.testing.assert_allclose(np.array(counted) / count, known / known.sum(), atol=0.03)
    most = settings.model_copy(update={"top_k": 1, "seed": None})
    assert len({text.tokens for text in decode(model, ANSWERS, rows, [[]] * count, most)}) == 1


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-9, 1e-3])
def test_the_coldest_draws_are_greedy(temperature: float) -> None:
    greedy = decode(model, ANSWERS, ROWS, LEADS, Decoding(method="greedy"))
    cold = Decoding(method="sample", temperature=temperature)
    assert decode(model, ANSWERS, ROWS, LEADS, cold) == greedy


def test_impossible_tokens_leave_a_number() -> None:
    def never_ends(inputs: dict[str, np.ndarray]) -> np.ndarray:
        found = np.zeros((*inputs["prefix"].shape, VOCABULARY), np.float32)
        found[:, :, 2] = 1
        return found

    (text,) = decode(never_ends, ANSWERS, {}, [[]], Decoding(method="beam", width=9))
    assert np.isfinite(text.log_probability) and set(text.tokens) <= {2}


def test_time_that_is_over_and_a_model_that_answers_no_numbers_end_it() -> None:
    with pytest.raises(TimeoutError):
        decode(model, ANSWERS, ROWS, LEADS, Decoding(), until=0.0)
    with pytest.raises(ValueError, match="not finite"):
        decode(lambda inputs: model(inputs) * np.nan, ANSWERS, ROWS, LEADS, Decoding())


def test_chances_are_those_of_the_tokens_that_are_there() -> None:
    columns = {"text": column("abc", "", "ca")}
    wanted = ANSWERS.encode(columns)
    inputs = {"row": np.arange(3), "prefix": ANSWERS.decoder_inputs(columns)}
    found = token_probabilities(model, inputs, wanted)
    whole = model(inputs)
    for row, step in np.ndindex(*wanted.shape):
        token = wanted[row, step]
        expected = [1, 1] if token < 0 else [whole[row, step, token], whole[row, step].max()]
        np.testing.assert_array_equal(found[row, :, step], np.float32(expected))
    there = [whole[row, step, wanted[row, step]] for row, step in np.argwhere(wanted >= 0)]
    figures = evaluate_tokens(wanted, found).values
    assert figures["perplexity"] == pytest.approx(np.prod(np.float64(there)) ** (-1 / len(there)))
    right = [whole[row, step].argmax() == wanted[row, step] for row, step in np.argwhere(wanted >= 0)]
    assert figures["accuracy"] == np.mean(right)
    nothing = evaluate_tokens(np.full_like(wanted, -1), found)
    assert nothing.values == {} and nothing.undefined["loss"] == "the rows have no text"


def slow(first: str, second: str) -> int:
    if not first or not second:
        return len(first) + len(second)
    best = min(slow(first[1:], second), slow(first, second[1:])) + 1
    return min(best, slow(first[1:], second[1:]) + (first[0] != second[0]))


def test_distances_of_all_short_texts() -> None:
    texts = ["".join(text) for length in range(4) for text in product("ab", repeat=length)]
    for first, second in product(texts, texts):
        assert edit_distance(list(map(ord, first)), list(map(ord, second))) == slow(first, second)


def test_the_error_rate_is_edits_by_true_tokens_and_none_of_a_language_model() -> None:
    columns = {"word": column("x", "y"), "text": column("ab", "c")}
    schema = infer_schema(columns, [{"name": "word", "kind": "text"}], ["text"], "generation")
    transforms = Transforms.fit(schema, columns)
    assert transforms.text_target is not None
    (a,), (b,) = map(transforms.text_target.token_ids, "ab")

    def always_a(inputs: dict[str, np.ndarray]) -> np.ndarray:
        """An a, and then the end."""
        found = np.zeros((*inputs["prefix"].shape, transforms.input_specs["prefix"].vocabulary), np.float32)
        found[:, 0, a], found[:, 1:, BOUNDARY] = 1, 1
        return found

    assert b != a
    # "ab" lacks one, "c" is another: 2 edits by 3 tokens.
    found = error_rate(always_a, schema, transforms, columns, Decoding())
    assert found.values == {"error_rate": pytest.approx(2 / 3)}
    alone = Schema(inputs=schema.inputs, target=schema.target.model_copy(update={"prompt": "word"}))
    assert error_rate(always_a, alone, transforms, columns, Decoding()) == Evaluation()
