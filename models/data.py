"""From a source to what training needs: schema, transforms, three splits, a fingerprint and a summary."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.answers import cut
from models.cells import read_cells
from models.columns import Array, Columns, as_strings, missing, rows_of, take, unknown_column
from models.datasets import DATASETS, format_of, load, load_dataset
from models.errors import SchemaError, SplitError
from models.losses import TASK_OF_KIND
from models.readers.audio_folder import KINDS as AUDIO_KINDS
from models.schema import READING, Field, Schema, infer_schema
from models.sources import existing
from models.splits import fingerprint, fold_rows
from models.splits import split as divide
from models.transforms import Transforms, encode_target

PROMPT = "prompt"  # the input of a language model
PROMPT_SHARE = 0.25  # of a text's words, which its prompt is
SPLIT: dict[str, Any] = {"validation": 0.1, "test": 0.2, "seed": 0, "folds": None}


@dataclass(frozen=True)
class Prepared:
    """What `prepare` hands on.

    Attributes:
        splits: "train", "validation" and "test" as raw columns; of streamed rows "train" is a sample of them.
        shards: what was told of each shard of training rows, where they are streamed.
    """

    schema: Schema
    transforms: Transforms
    splits: dict[str, Columns]
    fingerprint: str
    summary: dict[str, Any]
    shards: list[Any] = field(default_factory=list)


def prepare(
    *,
    dataset: str | None = None,
    source: str | Path | None = None,
    format: str | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    target: Sequence[str | Mapping[str, Any]] | None = None,
    split: Mapping[str, Any] | None = None,
    task: str | None = None,
    tile: int | None = None,
    sample_rate: int | None = None,
) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    Rows without a target are dropped and counted in the summary. A target column that is itself an array of
    `k` numbers a row becomes the `k` columns NAME_0, NAME_1, ...

    A target that is a text and has no inputs is a language model's: its input `prompt` is how the text begins, and is
    made here, so that held-out rows have one.

    Args:
        dataset: a built-in, which knows its target; else `source` and, if the suffix does not tell, `format`.
        inputs: `{"name", "kind" or None}` each; None means all columns but the target.
        target: the target's columns; of a text also `{"name", "kind": "text"}` with `tokens`, `length` and
            `vocabulary`, of boxes `{"name", "kind": "boxes"}`.
        split: fractions `validation` and `test`, `seed`, and `folds`, which divides nothing here.
        task: "classification", "regression", "generation", "detection", or None to infer it.
        tile: height and width of the pieces that images with boxes are cut into, see `models.scenes`.
        sample_rate: of recordings, in Hz; None: as the first one has it.

    Raises:
        DataError: the data cannot be used as asked; its subclasses say in which way.
    """
    named, reading, task = target_of(target, task)
    columns, published = _read(dataset, source, format, inputs, named, sample_rate, tile)
    names = named or [_own_target(dataset)]
    own = _own_task(dataset, names)
    task = own if own == "generation" else task or own  # its loss is a classifier's
    check_reading(names, reading, task)
    columns, names = spread_targets(columns, names)
    kept = np.flatnonzero(~without_target(columns, names))
    fixed = kept >= rows_of(columns) - published
    dropped = rows_of(columns) - len(kept)
    columns = take(columns, kept) if dropped else columns
    check_kept(names, len(kept), dropped)
    wanted = with_kinds(known_kinds(dataset, source, format), columns, inputs, names)
    if task == "generation" and not (set(columns) - set(names) if wanted is None else wanted):
        columns, wanted = _with_prompt(columns, names[0], reading)
        reading = reading | {"prompt": PROMPT}
    schema = infer_schema(columns, wanted, names, task, reading)
    columns = conformed(schema, columns)
    splits = _divided(schema, columns, split or {}, np.flatnonzero(fixed) if published else None)
    transforms = Transforms.fit(schema, splits["train"])
    digests = {name: fingerprint(part) for name, part in splits.items()}
    summary = _summary(schema, columns, splits) | {"dropped_rows": dropped, "fingerprints": digests}
    return Prepared(schema, transforms, splits, whole_fingerprint(digests), summary)


def whole_fingerprint(digests: Mapping[str, str]) -> str:
    """SHA-256 (hex) of all splits, from each one's."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def target_of(
    target: Sequence[str | Mapping[str, Any]] | None, task: str | None
) -> tuple[list[str], dict[str, Any], str | None]:
    """Names, how a text is read, and the task, which a target of kind text or boxes tells."""
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in target or ()]
    reading = {key: entry[key] for entry in entries for key in READING if entry.get(key) is not None}
    told = next((TASK_OF_KIND[entry["kind"]] for entry in entries if entry.get("kind")), task)
    return [entry["name"] for entry in entries], reading, told


def check_reading(names: Sequence[str], reading: Mapping[str, Any], task: str | None) -> None:
    """Refuse `tokens`, `length` and `vocabulary` of a target that is no text."""
    if reading and task != "generation":
        raise SchemaError(
            f"target {', '.join(names)} has {', '.join(reading)}; expected them of a text only; state data.task: "
            "generation, or leave them out"
        )


def _with_prompt(
    columns: Columns, name: str, reading: Mapping[str, Any]
) -> tuple[Columns, list[dict[str, Any]]]:
    """The columns with `prompt`, the first quarter of each text's words, and the inputs: that one."""
    if name == PROMPT:
        raise SchemaError(
            f"the target is called {PROMPT!r}, as the input that goes before it; rename the column"
        )
    if columns[name].dtype != object:
        raise SchemaError(
            f"target {name!r} is to be a text and holds numbers; expected strings; name another column or task"
        )
    prompts = np.empty(rows_of(columns), object)
    for row, text in enumerate(columns[name].tolist()):
        words = cut(text, "words")
        prompts[row] = " ".join(words[: round(PROMPT_SHARE * len(words))])
    told = {key: value for key, value in reading.items() if key in ("tokens", "length")}
    return columns | {PROMPT: prompts}, [{"name": PROMPT, "kind": "text", **told}]


def _read(
    dataset: str | None,
    source: str | Path | None,
    format: str | None,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str] | None,
    sample_rate: int | None,
    tile: int | None,
) -> tuple[Columns, int]:
    if dataset is not None:
        return load_dataset(dataset, tile)
    wanted = None if inputs is None or not target else [*(entry["name"] for entry in inputs), *target]
    chosen = wanted and list(dict.fromkeys(wanted))
    return load(source=source, format=format, columns=chosen, sample_rate=sample_rate, tile=tile), 0


def _own_target(dataset: str | None) -> str:
    if dataset is None:
        raise SchemaError(
            "data.target is not stated; expected the name of the column to predict; add data.target"
        )
    return DATASETS[dataset].target


def known_kinds(dataset: str | None, source: str | Path | None, format: str | None) -> dict[str, str]:
    """The kinds of inputs that a built-in, or a format, knows of its own and the values do not tell."""
    if dataset is not None:
        return dict(DATASETS[dataset].kinds)
    return AUDIO_KINDS if format_of(existing(source), format) == "audio_folder" else {}


def with_kinds(
    kinds: Mapping[str, str],
    columns: Columns,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str],
) -> Sequence[Mapping[str, Any]] | None:
    """The inputs asked for, with the kinds known where none is stated."""
    if not kinds:
        return inputs
    asked = [{"name": name} for name in columns if name not in target] if inputs is None else inputs
    return [{**entry, "kind": entry.get("kind") or kinds.get(entry["name"])} for entry in asked]


def _own_task(dataset: str | None, names: Sequence[str]) -> str | None:
    own = DATASETS.get(dataset or "")
    return own.task if own and list(names) == [own.target] else None


def spread_targets(columns: Columns, names: Sequence[str]) -> tuple[Columns, list[str]]:
    """Each target column that holds arrays as one column a number."""
    spread, targets = dict(columns), []
    for name in names:
        if name not in columns:
            raise unknown_column(name, columns, "target")
        if columns[name].ndim == 1:
            targets.append(name)
            continue
        numbers = spread.pop(name).reshape(rows_of(columns), -1)
        parts = [name] if numbers.shape[1] == 1 else [f"{name}_{place}" for place in range(numbers.shape[1])]
        spread |= {part: numbers[:, place].copy() for place, part in enumerate(parts)}
        targets += parts
    return spread, targets


def without_target(columns: Columns, names: Sequence[str]) -> Array:
    """Which rows have no target, `(n,)` bool."""
    return np.asarray(np.stack([missing(columns[name]) for name in names]).any(axis=0))


def check_kept(names: Sequence[str], kept: int, dropped: int) -> None:
    """Refuse data of which no row has a target."""
    if kept == 0 and dropped:
        raise SchemaError(
            f"target {', '.join(names)} has no value in any of {dropped} rows, and rows without one are "
            "dropped; expected some rows with a target; check data.target and the source"
        )


def conformed(schema: Schema, columns: Columns) -> Columns:
    """Only the columns of the schema, categories as strings."""
    inputs = {
        field.name: as_strings(columns[field.name]) if field.kind == "categorical" else columns[field.name]
        for field in schema.inputs
    }
    return inputs | {name: columns[name] for name in schema.target.names}


def _divided(
    schema: Schema, columns: Columns, stated: Mapping[str, Any], fixed_test: Array | None
) -> dict[str, Columns]:
    unknown = sorted(set(stated) - set(SPLIT))
    if unknown:
        raise SplitError(
            f"data.split has {', '.join(unknown)}; expected {', '.join(SPLIT)}; remove the others"
        )
    chosen = {**SPLIT, **stated}
    folds = chosen.pop("folds")
    rows = divide(schema, columns, **chosen, fixed_test=fixed_test)
    if folds is not None:  # told now, not when a model has been trained
        fold_rows(schema, take(columns, np.concatenate([rows["train"], rows["validation"]])), folds, 0)
    return {name: take(columns, index) for name, index in rows.items()}


def _summary(schema: Schema, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    target = schema.target
    if target.task == "generation":
        return _told_texts(schema, columns, splits)
    summary: dict[str, Any] = {
        "task": target.task,
        "rows": {name: rows_of(part) for name, part in splits.items()},
        "fields": {field.name: _told(field, columns[field.name]) for field in schema.inputs},
    }
    if target.task == "regression":
        return summary | {"target": {name: _range(columns[name]) for name in target.names}}
    if target.task == "detection":
        return summary | {"boxes": {name: _counted(schema, part) for name, part in splits.items()}}
    size = len(target.classes)
    counts = {name: np.bincount(encode_target(schema, part), minlength=size) for name, part in splits.items()}
    return summary | {
        "classes": {
            str(label): {name: int(count[place]) for name, count in counts.items()}
            for place, label in enumerate(target.classes)
        }
    }


def _counted(schema: Schema, columns: Columns) -> dict[str, int]:
    """How many boxes there are of each label."""
    name, shape = schema.target.names[0], schema.inputs[0].shape
    found = Counter(label for cell in read_cells(name, columns[name], shape) for label in cell.labels)
    return {str(label): found[str(label)] for label in schema.target.classes}


def _told_texts(schema: Schema, columns: Columns, splits: Mapping[str, Columns]) -> dict[str, Any]:
    target = schema.target
    fields = {field.name: _told(field, columns[field.name]) for field in schema.inputs}
    tokens = [len(cut(text, target.tokens or "characters")) for text in columns[target.names[0]].tolist()]
    return {
        "task": target.task,
        "rows": {name: rows_of(part) for name, part in splits.items()},
        "fields": fields,
        "target": {"mean_tokens": round(sum(tokens) / len(tokens), 1), "most_tokens": max(tokens)},
    }


def _told(field: Field, column: Array) -> dict[str, Any]:
    told = {"kind": field.kind, "missing": int(missing(column).sum())}
    if field.kind == "categorical":
        return told | {"categories": len({value for value in column.tolist() if value is not None})}
    if field.kind == "text":
        words = [len(text.split()) for text in column.tolist() if text is not None]
        return told | {"mean_words": round(sum(words) / max(len(words), 1), 1)}
    return told | _range(column)


def _range(column: Array) -> dict[str, float | None]:
    values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
    if values.size == 0:
        return {"min": None, "max": None, "mean": None}
    mean = float(values.mean(dtype=np.float64))
    return {"min": float(values.min()), "max": float(values.max()), "mean": mean}
