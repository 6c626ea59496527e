"""The file that `tidegate predict --output` writes: csv or jsonl, complete or not at all."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from tidegate.infra.system.files import publish, temporary
from tidegate.infra.system.strict_json import strict_json
from tidegate.pipelines.errors import UsageError

FORMATS = {"csv": (".csv",), "jsonl": (".jsonl", ".ndjson")}
Write = Callable[[list[Any], int], None]


class RowKeys(Protocol):
    """How the rows of an output are told apart: the first columns of a .csv, and the name in a .jsonl, if any."""

    @property
    def columns(self) -> Sequence[str]:
        """Their names."""

    def of(self, row: int) -> list[Any]:
        """The cells of these columns."""

    def name(self, row: int) -> str | None:
        """What a line of a .jsonl has as `file`; None: nothing."""


class Numbered:
    """By the number of the row, from 0."""

    columns: Sequence[str] = ("row",)

    def of(self, row: int) -> list[Any]:
        """The number."""
        return [row]

    def name(self, row: int) -> None:
        """None: line n is row n."""


@dataclass(frozen=True)
class Named:
    """By the file that is the row; `names` may grow while rows are written."""

    names: Sequence[str]
    columns = ("file",)

    def of(self, row: int) -> list[Any]:
        """The file's name."""
        return [self.names[row]]

    def name(self, row: int) -> str:
        """The file's name."""
        return self.names[row]


def format_of(output: Path, stated: str | None) -> str:
    """The stated format, or the one that the file's suffix names.

    Raises:
        UsageError: the suffix names none, or nothing can be written there.
    """
    if output.exists() and not output.is_file():
        raise UsageError(f"--output {output} is a folder or a device; expected a file's name; name a file")
    if not output.parent.is_dir():
        raise UsageError(
            f"--output {output}: there is no folder {output.parent}; expected an existing one; make it first"
        )
    by_suffix = next((name for name, ends in FORMATS.items() if output.suffix.lower() in ends), None)
    if stated is None and by_suffix is None:
        raise UsageError(
            f"--output {output}: its suffix names no format; expected .csv or .jsonl; add --format"
        )
    return stated or str(by_suffix)


@contextmanager
def writing(output: Path, kind: str, contract: dict[str, Any], keys: RowKeys) -> Iterator[Write]:
    """Give a function that writes predictions; it takes them and the row number of the first.

    The file appears under its name when the block succeeds, and not at all when it fails. A .csv has one line per
    row: the row's number from 0, or the image's file, and then label, probability and the probability of each
    class, the predicted quantities by their names, or text and log-probability. For boxes it has one line per box,
    with label, score and corners, and none for a row without boxes. Line n of a .jsonl is what `/predict` answers
    for row n.

    Args:
        output: the file; replaced if it is there.
        kind: csv or jsonl.
        contract: as `GET /contract` gives it.
        keys: how its rows are told apart.
    """
    temp = temporary(output.parent)
    try:
        with temp.open("x", encoding="utf-8", newline="") as stream:
            yield _csv(stream, contract, keys) if kind == "csv" else _jsonl(stream, keys)
            stream.flush()
            os.fsync(stream.fileno())
        publish(temp, output)
    finally:
        temp.unlink(missing_ok=True)


def _csv(stream: TextIO, contract: dict[str, Any], keys: RowKeys) -> Write:
    writer = csv.writer(stream)
    classes = [f"probability_{name}" for name in contract["classes"]]
    first = ["labels"] if contract["task"] == "multilabel" else ["label", "probability"]
    values = [*first, *classes] if classes else list(contract["target"])
    values += ["log_probability"] if contract["task"] == "generation" else []
    if contract.get("outputs") or contract.get("shape"):
        values = list(contract["target"]) or ["output"]
    if contract["task"] == "detection":
        values = ["label", "score", "xmin", "ymin", "xmax", "ymax"]
    if contract["task"] == "anomaly":
        values = ["score", "anomaly"]
    whole = bool(contract.get("outputs") or contract.get("shape"))
    writer.writerow([*keys.columns, *values])

    def write(predictions: list[Any], start: int) -> None:
        for row, prediction in enumerate(predictions, start):
            key = keys.of(row)
            lines = [_as_json(contract, prediction)] if whole else _lines(prediction)
            writer.writerows([*key, *cells] for cells in lines)

    return write


def _as_json(contract: dict[str, Any], prediction: Any) -> list[str]:
    """A cell for each of several outputs, or for an array, as JSON."""
    parts = [prediction[name] for name in contract["target"]] if contract.get("outputs") else [prediction]
    return [strict_json(part, ensure_ascii=False) for part in parts]


def _lines(prediction: Any) -> list[list[Any]]:
    if isinstance(prediction, dict) and "boxes" in prediction:
        return [[box["label"], box["score"], *box["box"]] for box in prediction["boxes"]]
    return [_cells(prediction)]


def _cells(prediction: Any) -> list[Any]:
    if isinstance(prediction, dict) and "text" in prediction:
        return [prediction["text"], prediction["log_probability"]]
    if isinstance(prediction, dict) and "anomaly" in prediction:
        return [prediction["score"], prediction["anomaly"]]
    if isinstance(prediction, dict) and "labels" in prediction:
        return [strict_json(prediction["labels"], ensure_ascii=False), *prediction["probabilities"].values()]
    if isinstance(prediction, dict):
        return [prediction["label"], prediction["probability"], *prediction["probabilities"]]
    return prediction if isinstance(prediction, list) else [prediction]


def _jsonl(stream: TextIO, keys: RowKeys) -> Write:
    def write(predictions: list[Any], start: int) -> None:
        for row, prediction in enumerate(predictions, start):
            name = keys.name(row)
            shown = prediction if name is None else _named(name, prediction)
            stream.write(strict_json(shown, ensure_ascii=False) + "\n")

    return write


def _named(name: str, prediction: Any) -> dict[str, Any]:
    return {"file": name, **(prediction if isinstance(prediction, dict) else {"prediction": prediction})}
