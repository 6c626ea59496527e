"""One rule for texts of any script, in training and at the endpoint, and the older one of older bundles."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.data_warnings import recorded
from tidegate.models.preprocessing.encoding.text_encoder import TextEncoder, tokenizer
from tidegate.models.preprocessing.encoding.text_rules import FIRST_RULE, RULE, has_no_spaces, words_of
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.schema import Field, Schema, Target, TargetTokens, Tokens
from tidegate.models.preprocessing.target.text_target import TextTarget
from tidegate.models.preprocessing.transforms import Transforms

WORDS = {
    "Crème brûlée!": ["crème", "brûlée"],
    "हिन्दी भाषा": ["हिन्दी", "भाषा"],  # vowel signs, and a virama between two consonants
    "தமிழ் மொழி": ["தமிழ்", "மொழி"],
    "我喜欢猫。": ["我喜", "喜欢", "欢猫"],
    "我買了2本BOOK": ["我買", "買了", "2", "本", "book"],
    "ガﾊﾟＡＢＣ": ["ガパ", "abc"],  # half-width kana with a mark, full-width letters
    "東京タワー": ["東京", "京タ", "タワ", "ワー"],
    "น้ำใจดี": ["น้ำใ", "ใจ", "จดี"],  # a tone mark, and a vowel that is a letter
    "ພາສາລາວ": ["ພາ", "າສ", "ສາ", "າລ", "ລາ", "າວ"],
    "ភាសាខ្មែរ": ["ភាសា", "សាខ្មែ", "ខ្មែរ"],  # a consonant below another one
    "မြန်မာ": ["မြန်", "န်မာ"],
    "တက္ကသိုလ်": ["တက္က", "က္ကသို", "သိုလ်"],
    "می\u200cخواهم بروم": ["می\u200cخواهم", "بروم"],
    "한국어 문장": ["한국어", "문장"],
    "tiếng Việt": ["tiếng", "việt"],
    "İstanbul": ["i̇stanbul"],
    "naïve_2 x²": ["naïve_2", "x²"],
    "☃ … —": [],
}


def column(*texts: str | None) -> np.ndarray:
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


@pytest.mark.parametrize("text", WORDS)
def test_a_word_is_one_in_each_script_however_it_is_sent(text: str) -> None:
    expected = [unicodedata.normalize("NFC", word) for word in WORDS[text]]
    for form in ("NFC", "NFD"):
        assert words_of(unicodedata.normalize(form, text)) == expected


def test_texts_that_both_rules_read_alike_stay_what_they_were() -> None:
    """All of Latin, Greek, Cyrillic, Hebrew, Arabic and Hangul that is composed and has no marks of its own."""
    letters = [chr(code) for code in (*range(0x20, 0x700), *range(0x1E00, 0x1F00), *range(0xAC00, 0xAD00))]
    plain = [one for one in letters if unicodedata.normalize("NFC", one.lower()) == one.lower()]
    plain = [one for one in plain if not any(unicodedata.category(part)[0] == "M" for part in one.lower())]
    assert len(plain) > 1800
    text = " ".join(f"a{one}b1 {one}" for one in plain)
    assert words_of(text) == words_of(text, FIRST_RULE)


def test_a_bundle_without_a_rule_answers_as_it_did() -> None:
    content: dict[str, Any] = {"name": "t", "words": ["我喜欢猫", "e"], "length": 3, "tokens": "words"}
    old, new = TextEncoder(**content), TextEncoder(**content, rule=RULE)
    assert old.apply({"t": column("我喜欢猫", "e\u0301")}).tolist() == [[2, 0, 0], [3, 0, 0]]
    assert new.apply({"t": column("我喜欢猫", "e\u0301")}).tolist() == [[1, 1, 1], [1, 0, 0]]
    assert old.content == content and new.content == content | {"rule": RULE}
    answers: dict[str, Any] = {"name": "t", "words": ["é"], "length": 3, "tokens": "characters"}
    assert TextTarget(**answers).token_ids("e\u0301") == [1, 1]
    assert TextTarget(**answers, rule=RULE).token_ids("e\u0301") == [2]


@pytest.mark.parametrize("tokens", ["words", "characters"])
def test_training_and_the_endpoint_have_one_rule(tokens: Tokens) -> None:
    texts = ["ガラスの靴", "Crème brûlée", "हिन्दी", "Ångström"]
    field = Field(name="t", kind="text", dtype="str", tokens=tokens, length=12)
    schema = Schema(inputs=(field,), target=Target(names=("y",), task="regression"))
    fitted = Transforms.fit(schema, {"t": column(*texts)})
    served = Transforms.from_dict(fitted.to_dict())
    for form in ("NFC", "NFD"):
        sent = {"t": column(*(unicodedata.normalize(form, text) for text in texts))}
        np.testing.assert_array_equal(served.apply(sent)["t"], fitted.apply({"t": column(*texts)})["t"])
    assert (served.apply({"t": column(*texts)})["t"] != 1).all()


@pytest.mark.parametrize("tokens", ["characters", "words", "subwords"])
def test_a_prompt_is_read_as_what_was_learned(tokens: TargetTokens) -> None:
    target = Target(names=("t",), task="generation", tokens=tokens, vocabulary=60, length=9)
    fitted = TextTarget.fit(target, {"t": column("e\u0301te\u0301 là", "été là", "là été")})
    served = TextTarget(**fitted.content)
    assert served.prompt_ids("e\u0301te\u0301") == served.prompt_ids("été") == served.token_ids("été")
    assert 1 not in served.prompt_ids("e\u0301te\u0301")
    assert served.text(tuple(served.token_ids("e\u0301te\u0301 là"))) == "été là"


def test_sentences_without_spaces_are_texts_and_short_names_categories(tmp_path: Path) -> None:
    assert has_no_spaces("東京 Tokyo 大阪市民") and not has_no_spaces("Tokyo 東京")
    places = ["北京", "上海", "广州"]
    rows = [
        f"这家餐厅的第{row}道菜味道很好,{'我' * (row % 5)}还会再来,{places[row % 3]},{row % 2}"
        for row in range(80)
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["评论,后续,城市,好", *rows]))
    with recorded():
        prepared = prepare(source=path, target=["好"])
    kinds = {field.name: field.kind for field in prepared.schema.inputs}
    assert kinds == {"评论": "text", "后续": "categorical", "城市": "categorical"}
    (entry,) = [one for one in prepared.transforms.to_dict()["inputs"] if one["encoder"] == "text"]
    assert "味道" in entry["content"]["words"] and entry["content"]["length"] == 11


def test_what_is_no_string_of_unicode_is_still_read() -> None:
    assert words_of("a\ud83d b") == ["a", "b"] and tokenizer("characters")("\ud83d") == ["\ud83d"]
    assert words_of("") == [] and tokenizer("words")(None) == []
