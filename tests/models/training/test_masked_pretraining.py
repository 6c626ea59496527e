"""Pretraining by hidden words: what is hidden, and that the encoder learns from it."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.models.errors import OptionsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.masked_pretraining import mask_words, pretrain, pretrain_encoder

TEXT = InputSpec((10,), "int32", "text", 30)
SMALL = {"family": "transformer", "width": 16, "feed_forward": 16, "layers": 1, "heads": 2, "dropout": 0}


def texts(rows: int) -> np.ndarray:
    """Each word is followed by its successor, so that a hidden one can be guessed from its neighbours."""
    first = np.random.default_rng(0).integers(2, 30, (rows, 1))
    return ((first + np.arange(10) - 2) % 28 + 2).astype(np.int32)


def test_only_known_words_are_hidden_and_what_was_there_is_kept() -> None:
    ids = texts(400)
    ids[:100, 5:] = 0
    ids[0], ids[1] = 0, 1
    hidden, places, words = mask_words(ids, 30, 0.3, np.random.default_rng(1))
    assert not words[:2].any() and (hidden[:2] == ids[:2]).all()
    asked = words > 0
    assert (asked.sum(axis=1)[2:100] == 2).all() and (asked.sum(axis=1)[100:] == 3).all()
    row, place = np.nonzero(asked)[0], places[asked]
    np.testing.assert_array_equal(ids[row, place], words[asked])
    untouched = np.ones(ids.shape, bool)
    untouched[row, place] = False
    np.testing.assert_array_equal(hidden[untouched], ids[untouched])
    shown = hidden[row, place]
    assert 0.75 < (shown == 1).mean() < 0.85 and 0.07 < (shown == words[asked]).mean() < 0.16


def test_guessing_is_learned_and_repeats_to_the_bit() -> None:
    ids = texts(256)
    settings = {"epochs": 24, "batch_size": 32, "learning_rate": 0.01, "masked": 0.2, "copies": 2}
    losses = []
    for _ in range(2):
        model = build_model(SMALL, {"t": TEXT}, Outputs(2, "softmax"), 1)
        losses.append(pretrain_encoder(model.get_layer("encoder_t"), ids, 3, **settings))
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.5 * losses[0][0]


def test_the_family_pretrains_only_when_it_is_asked_to() -> None:
    for options, changed in ((None, False), ({"epochs": 1, "copies": 1}, True)):
        model = build_model({**SMALL, "pretrain": options}, {"t": TEXT}, Outputs(2, "softmax"), 1)
        before = [np.asarray(weight.value) for weight in model.get_layer("encoder_t").weights]
        pretrain(model, {**SMALL, "pretrain": options}, {"t": texts(40)}, 1)
        after = [np.asarray(weight.value) for weight in model.get_layer("encoder_t").weights]
        assert any((one != two).any() for one, two in zip(before, after, strict=True)) is changed


def test_two_texts_cannot_be_pretrained_and_heads_divide_the_width() -> None:
    with pytest.raises(
        OptionsError, match=r"'model.pretrain' is given and the texts are a, b; expected one text"
    ):
        build_model({**SMALL, "pretrain": {}}, {"a": TEXT, "b": TEXT}, Outputs(2, "softmax"), 1)
    with pytest.raises(OptionsError, match="heads is 3 and width is 16; expected a divisor of width"):
        build_model({**SMALL, "heads": 3}, {"a": TEXT}, Outputs(2, "softmax"), 1)
