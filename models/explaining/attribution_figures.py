"""Figures of explained rows: orange speaks for the prediction, blue or violet against it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.figures import BLUE, ORANGE, declutter, new_figure, png

MOST_FEATURES = 10
MOST_SHOWN = 8  # rows in one picture


def render_attributions(report: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """Return one figure per input as (file name, PNG); for a text (file name, HTML).

    Args:
        report: "explained": from `integrated_gradients.attribution_report`: "titles", one per row, and "inputs": for
            each a dict with name, kind and labels; "input/NAME" and "attribution/NAME": arrays, rows first.
    """
    found = []
    for entry in report["explained"]["inputs"]:
        name, titles = entry["name"], report["explained"]["titles"]
        values, parts = report[f"input/{name}"], report[f"attribution/{name}"]
        if entry["kind"] == "text":
            found.append((f"explanation_{name}.html", _text(titles, entry["labels"], parts).encode()))
        elif entry["labels"]:
            found.append((f"explanation_{name}.png", png(features(titles, entry["labels"], parts))))
        else:
            found.append((f"explanation_{name}.png", png(maps(titles, values, parts))))
    return found


def features(titles: Sequence[str], labels: Sequence[str], parts: NDArray[Any]) -> Any:
    """Return a figure with one plot per row: the features with the largest attributions (rows, features)."""
    shown = min(len(parts), MOST_SHOWN)
    figure = new_figure(7.5, 0.8 + shown * (0.9 + 0.24 * min(len(labels), MOST_FEATURES)))
    for axes, title, row in zip(np.atleast_1d(figure.subplots(shown, 1)), titles, parts, strict=False):
        largest = np.argsort(-np.abs(row), kind="stable")[:MOST_FEATURES][::-1]
        colors = [ORANGE if value > 0 else BLUE for value in row[largest]]
        axes.barh([labels[place][:40] for place in largest], row[largest], color=colors)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(title, fontsize=9, loc="left")
        declutter(axes)
    return figure


def maps(titles: Sequence[str], values: NDArray[Any], parts: NDArray[Any]) -> Any:
    """Return a figure of each row (rows, ...), an image or a table of steps, above its attributions."""
    shown = min(len(parts), MOST_SHOWN)
    figure = new_figure(2.4 * shown, 5.2)
    above, below = figure.subplots(2, shown, squeeze=False)
    for column in range(shown):
        above[column].imshow(_flat(values[column], np.mean), cmap="gray", aspect="auto")
        part = _flat(parts[column], np.sum)
        most = float(np.abs(part).max()) or 1.0
        below[column].imshow(part, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
        above[column].set_title(titles[column].replace(", ", "\n"), fontsize=8)
        for axes in (above[column], below[column]):
            axes.set(xticks=[], yticks=[])
    return figure


def _flat(row: NDArray[Any], of: Any) -> NDArray[Any]:
    """A row as (height, width): an image's channels are reduced to one, a line of numbers becomes one row high."""
    if row.ndim > 2:
        return np.asarray(of(row.reshape(*row.shape[:2], -1), axis=-1))
    return row.reshape(1, -1) if row.ndim == 1 else row.T


def _text(titles: Sequence[str], words: Sequence[Sequence[str]], parts: NDArray[Any]) -> str:
    """An HTML page with one paragraph per row, each word coloured by its attribution."""
    paragraphs = []
    for title, row, part in zip(titles, words, parts, strict=True):
        most = float(np.abs(part).max()) or 1.0
        spans = [_span(word, float(value) / most) for word, value in zip(row, part[: len(row)], strict=True)]
        paragraphs.append(f"<h4>{html.escape(title)}</h4><p>{' '.join(spans)}</p>")
    return "<!doctype html><meta charset='utf-8'><body style='font-family: sans-serif'>" + "".join(paragraphs)


def _span(word: str, share: float) -> str:
    color = "213, 94, 0" if share > 0 else "0, 114, 178"
    return f"<span style='background: rgba({color}, {abs(share):.2f})'>{html.escape(word)}</span>"
