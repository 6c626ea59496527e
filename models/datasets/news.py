"""News with their topics, from Orange's .tab files: three lines of head, then a topic, a tab and a text a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.columns import Array, Columns
from models.errors import FormatError
from models.readers import open_text

HEAD = 3


def topics(files: list[Path]) -> tuple[Columns, int]:
    """`text` and `topic`, str; the last file's rows are the published test split."""
    parts = [_table(file) for file in files]
    texts, labels = (np.concatenate([part[place] for part in parts]) for place in (1, 0))
    return {"text": texts, "topic": labels}, len(parts[-1][0])


def _table(file: Path) -> tuple[Array, Array]:
    with open_text(file) as stream:
        rows = [line.strip("\r\n").split("\t") for line in stream if line.strip()][HEAD:]
    odd = next((number for number, row in enumerate(rows, HEAD + 1) if len(row) != 2), None)
    if odd is not None:
        raise FormatError(
            f"{file}, line {odd}: expected a topic, one tab and a text; install the package again"
        )
    topic, text = np.empty(len(rows), object), np.empty(len(rows), object)
    topic[:], text[:] = [row[0] for row in rows], [row[1] for row in rows]
    return topic, text
