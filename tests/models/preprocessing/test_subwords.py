"""Byte-pair tokens: learned as by counting all pairs anew, and what they split joins to the text again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tests.models.preprocessing.test_texts import answers_of, column
from tidegate.models.evaluation.text_metrics import character_perplexity, evaluate_tokens
from tidegate.models.preprocessing.target.subwords import Subwords, learn_subwords, pieces
from tidegate.models.preprocessing.target.text_target import UNSEEN, TextTarget

TEXTS = [
    "In the beginning God created the heaven and the earth.",
    "And the earth was without form, and void;  and darkness was upon the face of the deep.",
    "",
    "a\tb\n\nwater 水 æøå __init__ 10,000",
]


def slowly_learned(texts: list[str], size: int) -> list[str]:
    """All pairs are counted again for each token."""
    words = [list(piece) for text in texts for piece in pieces(text)]
    characters = Counter(character for word in words for character in word)
    tokens = sorted(characters, key=lambda one: (-characters[one], one))[:size]
    alphabet = set(tokens)
    while len(tokens) < size:
        pairs = Counter(
            (one, two)
            for word in words
            for one, two in pairwise(word)
            if all(len(part) > 1 or part in alphabet for part in (one, two))
        )
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        for word in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = ["".join(best)]
                at += 1
        if "".join(best) not in tokens:
            tokens.append("".join(best))
    return tokens


@pytest.mark.parametrize("size", [3, 40, 50, 70, 500])
def test_they_are_those_of_counting_all_pairs_again(size: int) -> None:
    texts = [*TEXTS, "banana bandana aaaa aaaaa", "ababab abab"]
    assert learn_subwords(texts, size) == slowly_learned(texts, size)


@pytest.mark.parametrize("text", [*TEXTS, "never\u00a0seen \u2603!", " " * 100, "x" * 1000])
def test_what_is_split_joins_to_the_text(text: str) -> None:
    for size in (5, 60, 500):
        assert "".join(Subwords(learn_subwords(TEXTS, size)).split(text)) == text


def test_known_characters_come_back_and_a_token_is_as_long_as_was_learned() -> None:
    answers = answers_of(*TEXTS, tokens="subwords", vocabulary=100)
    for text in TEXTS:
        assert answers.text(tuple(answers.token_ids(text))) == text
    assert len(answers.token_ids("the earth the heaven")) <= 10  # of 20 characters
    assert answers.token_ids("\u2603") == [UNSEEN]


def test_they_are_data() -> None:
    answers = answers_of(*TEXTS, tokens="subwords", vocabulary=45, length=9)
    assert len(answers.content["words"]) == 45 and answers.spec.vocabulary == 47
    again = TextTarget(**answers.content)
    assert [again.token_ids(text) for text in TEXTS] == [answers.token_ids(text) for text in TEXTS]


def test_half_of_a_pair_is_never_written() -> None:
    assert learn_subwords(["a\ud83d\ud83d" * 9], 50) == ["a"]


def test_a_megabyte_to_go_on_from_is_its_end() -> None:
    answers = answers_of("abab abab abab", tokens="subwords", vocabulary=6, length=4)
    whole = answers.token_ids("abab " * 50)
    assert answers.prompt_ids("abab " * 300_000) == whole[-4:]
    assert len(answers.prompt_ids("c" * 1_000_000)) == 4


def test_perplexity_is_told_per_character_however_long_tokens_are() -> None:
    random = np.random.default_rng(0)
    texts = {"text": column("the earth the deep", "a\ud83db", "", "the")}
    for tokens, text_target in (
        (tokens, answers_of(*TEXTS, tokens=tokens, length=30)) for tokens in ("characters", "subwords")
    ):
        labels = text_target.encode(texts)
        found = random.uniform(0.1, 1, (len(labels), 2, labels.shape[1])).astype(np.float32)
        found[:, 0][labels < 0] = 1
        measured = character_perplexity(text_target, labels, found).values["perplexity_per_character"]
        losses = -np.log(found[:, 0].astype(np.float64)).sum()
        assert measured == pytest.approx(np.exp(losses / (18 + 3 + 0 + 3 + 4)))
        if tokens == "characters":
            assert measured == pytest.approx(evaluate_tokens(labels, found).values["perplexity"])
