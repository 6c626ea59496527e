"""Prepare a source for training: schema, transforms, three splits, a fingerprint and a summary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.models.data.columns import Array, Columns, as_strings, rows_of, take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import CsvOptions, ReadOptions
from tidegate.models.data.source_types import noting_types
from tidegate.models.data.sources import existing
from tidegate.models.datasets import DATASETS, format_of, load, load_dataset
from tidegate.models.errors import SchemaError, SplitError
from tidegate.models.preprocessing.own_transform.fitting import fit_transform
from tidegate.models.preprocessing.profile.column_checks import tell_about_columns
from tidegate.models.preprocessing.profile.column_lines import column_entries, profiles_of, raw_entries
from tidegate.models.preprocessing.profile.image_scales import tell_image_scales
from tidegate.models.preprocessing.profile.split_leaks import tell_leaks
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.schema_inference import infer_schema, with_nullable
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.row_identity import RowIdentity, identify
from tidegate.models.preprocessing.splitting.splits import Rows, fingerprint, fold_rows
from tidegate.models.preprocessing.splitting.splits import split as divide
from tidegate.models.preprocessing.summary import summary_of
from tidegate.models.preprocessing.target.one_hot import TargetColumns
from tidegate.models.preprocessing.target.target_checks import tell_about_target
from tidegate.models.preprocessing.target.target_columns import (
    check_kept,
    check_text_options,
    infinite_targets,
    parse_target,
    tell_infinite_targets,
    without_target,
)
from tidegate.models.preprocessing.target.text_target import tokenize
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.readers.audio_folder import KINDS as AUDIO_KINDS

PROMPT = "prompt"  # the input of a language model
PROMPT_SHARE = 0.25  # fraction of a text's words that become its prompt
FORMAT_KINDS: dict[str, Mapping[str, str]] = {
    "audio_folder": AUDIO_KINDS,
    "image_folder": {"image": "image"},
    "boxes": {"image": "image"},
}
SPLIT: dict[str, Any] = {"validation": 0.1, "test": 0.2, "seed": 0, "folds": None}


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`.

    Attributes:
        splits: "train", "validation" and "test" as raw columns; for streamed data "train" is a sample of the rows.
        learned: digests of the training and validation rows, whose order means nothing; see `row_identity`.
        held: for each test row the digest that `learned` has if the row, or one that stays with it, is among those.
        shards: for streamed data a reference to each shard of training rows, as `ShardWriter`'s `keep` returned it.
    """

    schema: Schema
    transforms: Transforms
    splits: dict[str, Columns]
    fingerprint: str
    summary: dict[str, Any]
    learned: Digests
    held: Digests
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
    csv: Mapping[str, Any] | None = None,
    missing: str | None = None,
    transform: str | None = None,
) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    Rows without a target are dropped and counted in the summary. A target column that holds arrays of `k` numbers
    becomes the `k` columns NAME_0, NAME_1, ..., or classes where they are one-hot, see `preprocessing.target.one_hot`.

    A text target without inputs means a language model. Its input `prompt`, the beginning of the text, is made here, so
    that held-out rows have one.

    Args:
        dataset: a built-in dataset, which has a default target; if None, `source` is read.
        source: a file or folder.
        format: the source's format; None guesses it from the suffix.
        inputs: each `{"name", "kind" or None}` and the kind's options; None means all columns but the target.
        target: the target columns; a text as `{"name", "kind": "text"}` with `tokens`, `length` and `vocabulary`, boxes
            as `{"name", "kind": "boxes"}`.
        split: fractions `validation` and `test`, `seed`, and `folds`, which is only checked here.
        task: "classification", "regression", "generation", "detection", or None to infer it.
        tile: height and width in pixels of the tiles that images with boxes are cut into, see `readers.tiles`.
        sample_rate: of recordings, in Hz; None: that of the first one.
        csv: the dialect of CSV, the keys of `data.read_options.CsvOptions`; what is not stated is found out.
        missing: what becomes of missing values of inputs that do not state it, see `preprocessing.schema.Field`.
        transform: a reference to a function of the user's from raw columns to columns; `inputs` are of the latter, and
            the schema's inputs are raw columns, see `preprocessing.own_transform`.

    Raises:
        DataError: the data cannot be used as asked; the subclasses say why.
        UserCodeError: the transform is missing, raises, or does not treat each row by itself.
    """
    with recorded() as told, noting_types() as types:
        named, text_options, task = parse_target(target, task)
        options = read_options(None if transform else inputs, target, task, csv)
        read = None if transform else inputs
        columns, published = _read(dataset, source, format, read, named, sample_rate, tile, options)
        names = named or [_own_target(dataset)]
        own = _own_task(dataset, names)
        task = own if own == "generation" else task or own  # its loss alone would mean classification
        check_text_options(names, text_options, task)
        columns, names = TargetColumns(names, task).read(columns)
        tell_infinite_targets(names, infinite_targets(columns, names), rows_of(columns))
        kept = np.flatnonzero(~without_target(columns, names))
        fixed = kept >= rows_of(columns) - published
        dropped = rows_of(columns) - len(kept)
        columns = take(columns, kept) if dropped else columns
        check_kept(names, len(kept), dropped)
        known = known_kinds(dataset, source, format) | options.found
        made = transform and fit_transform(transform, columns, types, known, names, task)
        seen, inputs, known = made.encoded(columns, names, inputs) if made else (columns, inputs, known)
        stated = with_kinds(known, seen, inputs, names, missing)
        if task == "generation" and not (set(columns) - set(names) if stated is None else stated):
            seen, stated = _with_prompt(columns, names[0], text_options)
            text_options = text_options | {"prompt": PROMPT}
        encoded = infer_schema(seen, stated, names, task, text_options)
        seen = conformed(encoded, seen)
        schema, columns = made.contract(encoded, columns) if made else (encoded, seen)
        profiles = profiles_of(columns)
        schema = with_nullable(schema, {name: found.missing > 0 for name, found in profiles.items()})
        identity = identify(schema, columns)
        index = _divided(schema, columns, split or {}, np.flatnonzero(fixed) if published else None, identity)
        splits = {name: take(columns, rows) for name, rows in index.items()}
        learned = identity.copy[np.concatenate([index["train"], index["validation"]])]
        tell_about_target(schema, columns, splits["test"], kept)
        tell_leaks(schema, columns, index, identity, published > 0)
        some = take(seen, index["train"])
        encoded, looked = (encoded, profiles_of(seen)) if made else (schema, profiles)
        transforms = Transforms.fit(encoded, some, made.own.returning(encoded) if made else None)
        tell_image_scales(encoded, transforms)
        by_user = [name for name in with_kind(stated) if name not in options.found]
        shared = tell_about_columns(encoded, looked, some, by_user)
        entries = column_entries(encoded, looked, transforms, by_user, told, shared)
        digests = {name: fingerprint(part) for name, part in splits.items()}
        summary = summary_of(schema, columns, splits) | {
            "dropped_rows": dropped,
            "fingerprints": digests,
            "columns": [*(raw_entries(schema, profiles, made.own.what) if made else ()), *entries],
            "warnings": told,
        }
        whole, held = whole_fingerprint(digests), identity.unit[index["test"]]
        return Prepared(schema, transforms, splits, whole, summary, learned, held)


def whole_fingerprint(digests: Mapping[str, str]) -> str:
    """SHA-256 (hex) of all splits, computed from their own fingerprints."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _with_prompt(
    columns: Columns, name: str, text_options: Mapping[str, Any]
) -> tuple[Columns, list[dict[str, Any]]]:
    """The columns plus `prompt`, the first quarter of each text's words; and the inputs, which are `prompt` alone."""
    if name == PROMPT:
        raise SchemaError(
            f"the target is called {PROMPT!r}; expected another name, because the input has that one; rename the column"
        )
    if columns[name].dtype != object:
        raise SchemaError(
            f"target {name!r} has kind text and holds numbers; expected strings; set another column or task"
        )
    prompts = np.empty(rows_of(columns), object)
    for row, text in enumerate(columns[name].tolist()):
        words = tokenize(text, "words")
        prompts[row] = " ".join(words[: round(PROMPT_SHARE * len(words))])
    options = {key: value for key, value in text_options.items() if key in ("tokens", "length")}
    return columns | {PROMPT: prompts}, [{"name": PROMPT, "kind": "text", **options}]


def _read(
    dataset: str | None,
    source: str | Path | None,
    format: str | None,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str] | None,
    sample_rate: int | None,
    tile: int | None,
    options: ReadOptions,
) -> tuple[Columns, int]:
    if dataset is not None:
        return load_dataset(dataset, tile)
    needed = None if inputs is None or not target else [*(entry["name"] for entry in inputs), *target]
    chosen = needed and list(dict.fromkeys(needed))
    columns = load(
        source=source, format=format, columns=chosen, sample_rate=sample_rate, tile=tile, options=options
    )
    return columns, 0


def read_options(
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str | Mapping[str, Any]] | None,
    task: str | None,
    csv: Mapping[str, Any] | None,
) -> ReadOptions:
    """How the source is read: columns as their stated kinds say; the target of a stated regression is numbers."""
    kinds = {entry["name"]: entry["kind"] for entry in inputs or () if entry.get("kind")}
    for entry in target or ():
        name, kind = (entry, None) if isinstance(entry, str) else (entry["name"], entry.get("kind"))
        if kind is not None or task == "regression":
            kinds[name] = kind or "numeric"
    names = frozenset(entry if isinstance(entry, str) else entry["name"] for entry in target or ())
    return ReadOptions(
        kinds,
        CsvOptions.of(csv),
        labels=names if task == "classification" else frozenset(),
        quantities=names if task == "regression" else frozenset(),
    )


def _own_target(dataset: str | None) -> str:
    if dataset is None:
        raise SchemaError(
            "data.target is missing; expected the name of the column to predict; add data.target"
        )
    return DATASETS[dataset].target


def known_kinds(dataset: str | None, source: str | Path | None, format: str | None) -> dict[str, str]:
    """The kinds of inputs that a built-in dataset or a format knows and that cannot be inferred from values."""
    if dataset is not None:
        return dict(DATASETS[dataset].kinds)
    return dict(FORMAT_KINDS.get(format_of(existing(source), format), {}))


def with_kinds(
    kinds: Mapping[str, str],
    columns: Columns,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str],
    missing: str | None = None,
) -> Sequence[Mapping[str, Any]] | None:
    """The stated inputs, with known kinds and the rule for missing values added where none is stated."""
    if not kinds and missing is None:
        return inputs
    stated = [{"name": name} for name in columns if name not in target] if inputs is None else inputs
    return [
        {**entry, "kind": entry.get("kind") or kinds.get(entry["name"]), "missing_of_all": missing}
        for entry in stated
    ]


def with_kind(inputs: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """The inputs whose kind is stated."""
    return [entry["name"] for entry in inputs or () if entry.get("kind")]


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
    schema: Schema,
    columns: Columns,
    stated: Mapping[str, Any],
    fixed_test: Array | None,
    identity: RowIdentity,
) -> dict[str, Rows]:
    """The row numbers of each part."""
    unknown = sorted(set(stated) - set(SPLIT))
    if unknown:
        raise SplitError(
            f"data.split has {', '.join(unknown)}; expected {', '.join(SPLIT)}; remove the others"
        )
    chosen = {**SPLIT, **stated}
    folds = chosen.pop("folds")
    rows = divide(schema, columns, **chosen, fixed_test=fixed_test, identity=identity)
    if folds is not None:  # an error should come now, not after a model has been trained
        fold_rows(schema, take(columns, np.concatenate([rows["train"], rows["validation"]])), folds, 0)
    return rows
