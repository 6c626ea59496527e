"""From a source to what training needs: schema, transforms, three splits, a fingerprint and a summary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, as_strings, rows_of, take
from tidegate.models.data.sources import existing
from tidegate.models.datasets import DATASETS, format_of, load, load_dataset
from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.schema import Schema, infer_schema
from tidegate.models.preprocessing.splits import fingerprint, fold_rows
from tidegate.models.preprocessing.splits import split as divide
from tidegate.models.preprocessing.summary import summary_of
from tidegate.models.preprocessing.targets import (
    check_kept,
    check_text_options,
    parse_target,
    split_array_targets,
    without_target,
)
from tidegate.models.preprocessing.text_target import tokenize
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.readers.audio_folder import KINDS as AUDIO_KINDS

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
        tile: height and width of the pieces that images with boxes are cut into, see `readers.tiles`.
        sample_rate: of recordings, in Hz; None: as the first one has it.

    Raises:
        DataError: the data cannot be used as asked; its subclasses say in which way.
    """
    named, reading, task = parse_target(target, task)
    columns, published = _read(dataset, source, format, inputs, named, sample_rate, tile)
    names = named or [_own_target(dataset)]
    own = _own_task(dataset, names)
    task = own if own == "generation" else task or own  # its loss is a classifier's
    check_text_options(names, reading, task)
    columns, names = split_array_targets(columns, names)
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
    summary = summary_of(schema, columns, splits) | {"dropped_rows": dropped, "fingerprints": digests}
    return Prepared(schema, transforms, splits, whole_fingerprint(digests), summary)


def whole_fingerprint(digests: Mapping[str, str]) -> str:
    """SHA-256 (hex) of all splits, from each one's."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


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
        words = tokenize(text, "words")
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
