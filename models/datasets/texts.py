"""Texts to go on with and to translate: verses out of a Bible's database, and words with how they are spoken."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np

from models.columns import Columns
from models.errors import FormatError
from models.readers import open_text

KING_JAMES = "k"
SPELLING = re.compile(r"[a-z']+")
STRESS = re.compile(r"\d")


def verses(files: list[Path]) -> tuple[Columns, int]:
    """`text`, str `(31102,)`: the verses of the King James Bible, in their order."""
    query = "select vText from bible where bbName = ? order by bNumber, cNumber, vNumber"
    # Read as it is: no journal beside a file that belongs to a package.
    database = sqlite3.connect(f"{files[0].absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        found = [text for (text,) in database.execute(query, (KING_JAMES,))]
    except sqlite3.Error as error:
        raise FormatError(
            f"{files[0]}: {error}; expected a database with the table bible; install the package again"
        ) from error
    finally:
        database.close()
    return {"text": np.array(found, object)}, 0


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
