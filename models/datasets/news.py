"""News and their topics from Orange's .tab files: three header lines, then per line a topic, a tab and a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.label_lists import list_text
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_text

HEAD = 3


def topics(files: list[Path]) -> tuple[Columns, int]:
    """`text` and `topic`, str; the last file's rows are the published test split."""
    parts = [_table(file) for file in files]
    texts, labels = (np.concatenate([part[place] for part in parts]) for place in (1, 0))
    return {"text": texts, "topic": labels}, len(parts[-1][0])


def labels(files: list[Path]) -> tuple[Columns, int]:
    """`text`, and as `labels` the parts of a group's name: religion is one of three groups, misc of four."""
    columns, published = topics(files)
    found = np.empty(len(columns["topic"]), object)
    found[:] = [list_text(topic.split(".")) for topic in columns["topic"].tolist()]
    return {"text": columns["text"], "labels": found}, published


def _table(file: Path) -> tuple[Array, Array]:
    with open_text(file) as stream:
        lines = [
            (number, line.strip("\r\n").split("\t")) for number, line in enumerate(stream, 1) if line.strip()
        ]
    odd = next((number for number, row in lines[HEAD:] if len(row) != 2), None)
    if odd is not None or len(lines) <= HEAD:
        raise FormatError(
            f"{file}, line {odd or HEAD + 1}: expected a topic, one tab and a text; install the package again"
        )
    topic, text = np.empty(len(lines) - HEAD, object), np.empty(len(lines) - HEAD, object)
    topic[:], text[:] = [row[0] for _, row in lines[HEAD:]], [row[1] for _, row in lines[HEAD:]]
    return topic, text
