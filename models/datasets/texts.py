"""Texts to continue and to translate: verses from a Bible database, and words with their pronunciation."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Columns
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text

KING_JAMES, REINA_VALERA = "k", "v"
LONGEST_PAIR = 24  # words in a verse of `verse_pairs`
SPELLING = re.compile(r"[a-z']+")
STRESS = re.compile(r"\d")
WORD = re.compile(r"\w+|[^\w\s]")


def verses(files: list[Path]) -> tuple[Columns, int]:
    """`text`, str `(31102,)`: the verses of the King James Bible, in order."""
    return {"text": np.array(_bible(files[0], KING_JAMES), object)}, 0


def verse_pairs(files: list[Path]) -> tuple[Columns, int]:
    """`spanish` (Reina-Valera, 1909) and `english` (King James), str: the same verses in lower case.

    Words and punctuation marks are separated by spaces; only verses with at most 24 of them in both languages.
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
    """The 31,102 verses of one translation, in order."""
    query = "select vText from bible where bbName = ? order by bNumber, cNumber, vNumber"
    # Immutable: SQLite must not write a journal next to a file that belongs to a package.
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return [text for (text,) in database.execute(query, (name,))]
    except sqlite3.Error as error:
        raise FormatError(
            f"{file}: {error}; expected a database with a table bible; install the package again"
        ) from error
    finally:
        database.close()


def pronunciations(files: list[Path]) -> tuple[Columns, int]:
    """`spelling`, str, letters and apostrophes, and `phonemes`, str: of 39 phonemes without stress, with spaces.

    Only the first pronunciation of each word; words with digits, hyphens or dots are left out.
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
