"""The figures of a run: learning curves, confusion matrix, predicted against true, reliability."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.evaluation.metrics import reliability

# Okabe and Ito, "Color Universal Design" (2008): distinguishable with any colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
MOST_CLASSES_NAMED = 40
MOST_CLASSES_COUNTED = 20
MOST_CLASSES_DRAWN = 200  # of more only the most frequent ones, and the others as one
MOST_POINTS = 5_000


def render(report: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """Return the figures of one trained model as (file name, PNG).

    Args:
        report: "history": a dict of values per epoch; "task"; "classes"; "names": the target columns;
            "y_true": int class indices (rows,) or numbers (rows, values); "y_pred": probabilities
            (rows, classes) or numbers (rows, values); "y_uncalibrated": the probabilities before calibration, if
            there was one.
    """
    truth, predicted = np.asarray(report["y_true"]), np.asarray(report["y_pred"])
    figures = []
    if len(report["history"]):
        figures.append(("learning_curves.png", learning_curves(report["history"])))
    if report["task"] == "classification" and len(truth):
        truth, classes = truth.astype(np.int64), [str(one) for one in report["classes"]]
        figures.append(("confusion_matrix.png", confusion_matrix(truth, predicted.argmax(axis=1), classes)))
        figures.append(
            ("reliability_curve.png", reliability_curve(truth, predicted, report.get("y_uncalibrated")))
        )
    elif len(truth):
        names = [str(name) for name in report.get("names", ())]
        figures.append(("predicted_vs_true.png", predicted_vs_true(truth, predicted, names)))
    return [(name, png(figure)) for name, figure in figures]


def learning_curves(history: Sequence[Mapping[str, float | None]]) -> Any:
    """Return a figure with one plot per value: training and validation over epochs."""
    names = [name for name in history[0] if not name.startswith("val_")]
    figure = new_figure(5.2 * len(names), 3.8)
    epochs = range(1, len(history) + 1)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        _line(axes, epochs, _values(name, history), BLUE, "training")
        if f"val_{name}" in history[0]:
            _line(axes, epochs, _values(f"val_{name}", history), ORANGE, "validation")
            axes.legend(frameon=False)
        title = name.replace("_", " ")
        axes.set(title=title, xlabel="epoch", ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        declutter(axes)
    return figure


def _values(name: str, history: Sequence[Mapping[str, float | None]]) -> list[float]:
    """One value of each epoch; NaN, which is not drawn, where it is not defined."""
    return [np.nan if value is None else value for value in (values[name] for values in history)]


def confusion_matrix(truth: NDArray[np.int64], chosen: NDArray[np.int64], classes: Sequence[str]) -> Any:
    """Return a figure of the fraction of each true class (row) predicted as each class (column)."""
    known = len(classes)
    if known > MOST_CLASSES_DRAWN:
        truth, chosen, classes = _most_frequent(truth, chosen, classes)
    size = len(classes)
    counts = np.bincount(truth * size + chosen, minlength=size * size).reshape(size, size)
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.4 + 0.42 * size, 4.2, 14))
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="part of the true class")
    some = f", {size - 1} of {known:,} classes" if size < known else ""
    axes.set(title=f"Confusion matrix, {len(truth):,} rows{some}", xlabel="predicted", ylabel="true")
    _name_classes(axes, classes)
    if size <= MOST_CLASSES_COUNTED:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if parts[row, column] > 0.5 else "black"
            if count:
                axes.text(column, row, f"{count}", ha="center", va="center", color=shade, fontsize=8)
    return figure


def _most_frequent(
    truth: NDArray[np.int64], chosen: NDArray[np.int64], classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """The same with the classes that most rows have, and all others as one: a picture has no more places."""
    counts = np.bincount(truth, minlength=len(classes))
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_CLASSES_NAMED - 1])
    places = np.full(len(classes), len(kept))
    places[kept] = np.arange(len(kept))
    return places[truth], places[chosen], [*(classes[place] for place in kept.tolist()), "all others"]


def predicted_vs_true(truth: NDArray[Any], predicted: NDArray[Any], names: Sequence[str]) -> Any:
    """Return a figure with one plot per target column: predictions over true values, and the diagonal."""
    truth = truth.reshape(len(truth), -1).astype(np.float64)
    predicted = predicted.reshape(truth.shape).astype(np.float64)
    shown = np.linspace(0, len(truth) - 1, min(len(truth), MOST_POINTS)).astype(int)
    count = truth.shape[1]
    figure = new_figure(4.8 * min(count, 4), 4.6 * -(-count // 4))
    grid = np.atleast_1d(figure.subplots(-(-count // 4), min(count, 4))).ravel()
    for column in range(count):
        axes, true, guess = grid[column], truth[shown, column], predicted[shown, column]
        ends = [min(true.min(), guess.min()), max(true.max(), guess.max())]
        axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="perfect")
        axes.scatter(true, guess, s=14, color=BLUE, alpha=0.55, edgecolors="none")
        title = names[column] if column < len(names) else f"output {column + 1}"
        axes.set(title=title, xlabel="true", ylabel="predicted")
        axes.legend(frameon=False)
        declutter(axes)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure


def reliability_curve(
    truth: NDArray[np.int64], probabilities: NDArray[Any], before: NDArray[Any] | None = None
) -> Any:
    """Return a figure of accuracy over confidence, with the rows per bin below; also before calibration if given.

    DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters" (1983).
    """
    counts, accuracy, confidence = reliability(truth, np.asarray(probabilities, dtype=np.float64))
    filled = counts > 0
    error = float(np.sum(counts * np.abs(accuracy - confidence)) / max(1, counts.sum()))
    figure = new_figure(5.2, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect")
    if before is not None:
        rows, right, sure = reliability(truth, np.asarray(before, dtype=np.float64))
        _line(above, sure[rows > 0], right[rows > 0], ORANGE, "before calibration")
    _line(above, confidence[filled], accuracy[filled], BLUE, "model")
    above.set(title=f"Reliability, calibration error {error:.3f}", ylabel="accuracy", ylim=(0, 1.02))
    above.legend(frameon=False)
    edges = np.linspace(0, 1, len(counts) + 1)
    below.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=GREEN, edgecolor="white")
    below.set(xlabel="confidence", ylabel="rows", xlim=(0, 1))
    declutter(above)
    declutter(below)
    return figure


def _name_classes(axes: Any, classes: Sequence[str]) -> None:
    if len(classes) > MOST_CLASSES_NAMED:
        return
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in classes]
    upright = sum(map(len, short)) > 60
    axes.set_xticks(
        range(len(short)), short, rotation=45 if upright else 0, ha="right" if upright else "center"
    )
    axes.set_yticks(range(len(short)), short)


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches, without a window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _line(axes: Any, across: Any, up: Any, color: str, label: str) -> None:
    axes.plot(across, up, color=color, linewidth=2, marker="o", markersize=4, label=label)


def declutter(axes: Any) -> None:
    """Remove the upper and right spine and add a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def png(figure: Any) -> bytes:
    """Return a figure as PNG, without a window system and without matplotlib's global figure list."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
