"""Texts to go on with and to translate: verses out of a Bible's database, and words with how they are spoken."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text

KING_JAMES, REINA_VALERA = "k", "v"
LONGEST_PAIR = 24  # words of a verse that is to be translated
SPELLING = re.compile(r"[a-z']+")
STRESS = re.compile(r"\d")
WORD = re.compile(r"\w+|[^\w\s]")


def verses(files: list[Path]) -> tuple[Columns, int]:
    """`text`, str `(31102,)`: the verses of the King James Bible, in their order."""
    return {"text": np.array(_bible(files[0], KING_JAMES), object)}, 0


def verse_pairs(files: list[Path]) -> tuple[Columns, int]:
    """`spanish` (Reina-Valera, 1909) and `english` (King James), str: the same verses, in lower case.

    Words and marks have spaces between; those with at most 24 of them on both sides.
    """
    sides = (
        [WORD.findall(verse.lower()) for verse in _bible(files[0], name)]
        for name in (REINA_VALERA, KING_JAMES)
    )
    pairs = [
        pair for pair in zip(*sides, strict=True) if all(0 < len(words) <= LONGEST_PAIR for words in pair)
    ]
    spanish, english = ([" ".join(words) for words in side] for side in zip(*pairs, strict=True))
    return {"spanish": np.array(spanish, object), "english": np.array(english, object)}, 0


def _bible(file: Path, name: str) -> list[str]:
    """The 31,102 verses of one translation, in their order."""
    query = "select vText from bible where bbName = ? order by bNumber, cNumber, vNumber"
    # Read as it is: no journal beside a file that belongs to a package.
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return [text for (text,) in database.execute(query, (name,))]
    except sqlite3.Error as error:
        raise FormatError(
            f"{file}: {error}; expected a database with the table bible; install the package again"
        ) from error
    finally:
        database.close()


def pronunciations(files: list[Path]) -> tuple[Columns, int]:
    """`spelling`, str, letters and apostrophes, and `phonemes`, str: 39 phonemes without stress, spaces between.

    Of a word with several pronunciations the first; words with digits, hyphens or dots are left out.
    """
    spoken: dict[str, str] = {}
    with open_text(files[0]) as stream:
        for number, line in enumerate(stream, 1):
            word, *phonemes = line.partition("#")[0].split()
            if not phonemes:
                raise FormatError(
                    f"{files[0]}, line {number}: expected a word and its phonemes; install the package again"
                )
            if SPELLING.fullmatch(word):  # `word(2)` is another pronunciation of `word`
                spoken.setdefault(word, STRESS.sub("", " ".join(phonemes)))
    return {"spelling": np.array([*spoken], object), "phonemes": np.array([*spoken.values()], object)}, 0
