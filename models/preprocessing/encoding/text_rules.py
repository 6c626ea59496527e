"""The rules by which a text is written in one way and cut into words, in any script; no dictionary is needed.

A bundle states its rule by number, because a later one would give other tokens:

1. `\\w+` of the text in lower case, as it was sent. A vowel sign that stands above or below its letter ends a word, and
   a sentence without spaces is one word. Bundles that state no rule have this one.
2. The text is composed (NFC of Unicode's UAX #15), and full-width letters and half-width kana are the usual ones. A
   word is letters and digits with their marks. In scripts written without spaces between words, each two neighbouring
   letters are a word, with the marks on them and what is stacked below them (the clusters of UAX #29); a letter alone
   is one by itself. No dictionary is read.

Of texts in ASCII, and of composed letters of scripts with spaces, both give the same.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

FIRST_RULE, RULE = 1, 2
WORD = re.compile(r"\w+")
# Scripts without spaces between words, as ranges of code points, their marks and digits included.
UNSPACED = {
    "Han": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
    "Hiragana and Katakana": ((0x3041, 0x309F), (0x30A1, 0x30FF), (0x31F0, 0x31FF)),
    "Thai and Lao": ((0x0E00, 0x0EFF),),
    "Burmese": ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),
    "Khmer": ((0x1780, 0x17FF),),
    "Tai": ((0x1950, 0x19DF), (0x1A20, 0x1AAF), (0xAA80, 0xAADF)),
    "Javanese": ((0xA980, 0xA9DF),),
}
STACKING = "\u1039\u17d2\u1a60\ua9c0"  # what stands between a letter and the one written below it
JOINERS = "\u200c\u200d"  # that stand inside of a word and are no letters
PART_OF = "\u0e33\u0eb3"  # vowels that are letters to Unicode, and part of the cluster before them
WIDE = range(0xFF01, 0xFFEF)
LETTERS, SELECTORS = (
    range(0x300, 0x1F000),
    range(0xE0100, 0xE01F0),
)  # where marks are; all others take ten times as long


def words_of(text: str, rule: int = RULE) -> list[str]:
    """The words of a text, in lower case."""
    if rule == FIRST_RULE or text.isascii():
        return WORD.findall(text.lower())
    words, letters = _patterns()
    found: list[str] = []
    for match in words.finditer(composed(text.translate(_widths()).lower())):
        run = letters.findall(match[0]) if match["run"] else ()
        found += [one + other for one, other in pairwise(run)] if len(run) > 1 else [match[0]]
    return found


def composed(text: str) -> str:
    """A text whose letters and marks are composed as far as Unicode has them (NFC)."""
    return unicodedata.normalize("NFC", text)


def has_no_spaces(text: str) -> bool:
    """Whether most of a text's letters are of a script without spaces between words."""
    letters = [one for one in text if one.isalnum()]
    return 2 * sum(map(_is_unspaced, letters)) > len(letters)


def _is_unspaced(letter: str) -> bool:
    return any(first <= ord(letter) <= last for ranges in UNSPACED.values() for first, last in ranges)


@cache
def _widths() -> dict[int, str]:
    return {code: unicodedata.normalize("NFKC", chr(code)) for code in WIDE}


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A word, or a run of letters without spaces, which is its group `run`; and one letter of such a run."""
    unspaced = "".join(f"{chr(first)}-{chr(last)}" for ranges in UNSPACED.values() for first, last in ranges)
    marks = f"{_marks()}{JOINERS}{PART_OF}"
    base = rf"(?:(?=[{unspaced}])\w)"
    letter = rf"{base}(?:[{STACKING}]{base}|[{marks}])*"
    word = rf"(?P<run>(?:{letter})+)|(?:(?![{unspaced}])\w[{marks}]*)+"
    return re.compile(word), re.compile(letter)


@cache
def _marks() -> str:
    """All combining marks, as ranges of a regular expression's set."""
    codes = [code for code in (*LETTERS, *SELECTORS) if unicodedata.category(chr(code)).startswith("M")]
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
