"""Prepare a source for training: schema, transforms, three splits, a fingerprint and a summary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, as_strings, rows_of, take
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import OwnLoad
from tidegate.models.data.source_types import noting_types
from tidegate.models.datasets import DATASETS
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.forecast.series import series_of
from tidegate.models.preprocessing.own_transform.fitting import fit_transform
from tidegate.models.preprocessing.profile.column_checks import tell_about_columns
from tidegate.models.preprocessing.profile.column_lines import column_entries, profiles_of, raw_entries
from tidegate.models.preprocessing.profile.image_scales import tell_image_scales
from tidegate.models.preprocessing.profile.split_leaks import tell_leaks
from tidegate.models.preprocessing.reading import (
    columns_to_read,
    known_kinds,
    read_options,
    read_rows,
    set_aside,
    with_kind,
    with_kinds,
)
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.schema_inference import infer_schema, with_nullable
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.row_identity import RowIdentity, identify
from tidegate.models.preprocessing.splitting.rules import (
    FREE,
    Parts,
    SplitRules,
    divide,
    groups_of,
    parts_of_column,
    published_parts,
    split_summary,
)
from tidegate.models.preprocessing.splitting.splits import Rows, fingerprint, fold_rows
from tidegate.models.preprocessing.summary import summary_of
from tidegate.models.preprocessing.target.anomalies import LABEL, usual_rows, with_input_as_target
from tidegate.models.preprocessing.target.masks import tell_about_masks
from tidegate.models.preprocessing.target.tags import with_tags
from tidegate.models.preprocessing.target.target_checks import tell_about_target
from tidegate.models.preprocessing.target.target_columns import (
    check_kept,
    check_text_options,
    infinite_targets,
    parse_target,
    tell_infinite_targets,
    without_target,
)
from tidegate.models.preprocessing.target.target_forms import TargetForms, outputs_of
from tidegate.models.preprocessing.target.text_target import tokenize
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.preprocessing.weights import check_weights

PROMPT = "prompt"  # the input of a language model
PROMPT_SHARE = 0.25  # fraction of a text's words that become its prompt


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`.

    Attributes:
        splits: "train", "validation" and "test" as raw columns; for streamed data "train" is a sample of the rows.
        learned: digests of the training and validation rows, whose order means nothing; see `row_identity`.
        held: for each test row the digest that `learned` has if the row, or one that stays with it, is among those.
        places: of the rows of all splits, in the order of `splits`, which row of the source each one was; None for
            streamed data.
        shards: for streamed data a reference to each shard of training rows, as `ShardWriter`'s `keep` returned it.
    """

    schema: Schema
    transforms: Transforms
    splits: dict[str, Columns]
    fingerprint: str
    summary: dict[str, Any]
    learned: Digests
    held: Digests
    places: NDArray[np.int64] | None = None
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
    weight: str | None = None,
    files: Mapping[str, Path] | None = None,
    load: OwnLoad | None = None,
    scale: str | None = None,
    forecast: Mapping[str, Any] | None = None,
    anomaly: Mapping[str, Any] | None = None,
) -> Prepared:
    """Read, validate, split and fingerprint the data, and fit the transforms on the training rows.

    Rows without a target are dropped and counted in the summary. A target column that holds arrays of `k` numbers
    becomes the `k` columns NAME_0, NAME_1, ..., or classes where they are one-hot, see `preprocessing.target.one_hot`;
    sets of labels, arrays of more dimensions and several outputs stay what they are, see `target.target_forms`.

    A text target without inputs means a language model. Its input `prompt`, the beginning of the text, is made here, so
    that held-out rows have one.

    Args:
        dataset: a built-in dataset, which has a default target; if None, `source` is read.
        source: a file or folder.
        format: the source's format; None guesses it from the suffix.
        inputs: each `{"name", "kind" or None}` and the kind's options; None means all columns but the target.
        target: the target columns; a text as `{"name", "kind": "text"}` with `tokens`, `length` and `vocabulary`, boxes
            as `{"name", "kind": "boxes"}`, sets of labels as `{"name", "kind": "labels"}`, an output of several as
            `{"name", "task"}`.
        split: how rows are divided, the keys of `splitting.rules.SplitRules`; `folds` is only checked here.
        task: of `schema.Task`, or None to infer it.
        tile: height and width in pixels of the tiles that images with boxes are cut into, see `readers.tiles`.
        sample_rate: of recordings, in Hz; None: that of the first one.
        csv: the dialect of CSV, the keys of `data.read_options.CsvOptions`; what is not stated is found out.
        missing: what becomes of missing values of inputs that do not state it, see `preprocessing.schema.Field`.
        transform: a reference to a function of the user's from raw columns to columns; `inputs` are of the latter, and
            the schema's inputs are raw columns, see `preprocessing.own_transform`.
        weight: the column of the rows' weights, which stays with them.
        files: by part, where the file is that `split` names.
        load: a function of the user's that gives the rows of the source and of each file, in place of a reader.
        scale: of the numbers and images that do not state it.
        forecast: the target is a series to forecast, the keys of `forecast.settings.Forecast`; rows are made of it.
        anomaly: there is no target, and rows unlike the others are found, the keys of `data.anomaly`.

    Raises:
        DataError: the data cannot be used as asked; the subclasses say why.
        UserCodeError: the transform is missing, raises, or does not treat each row by itself.
    """
    with recorded() as told, noting_types() as types:
        named, text_options, task = parse_target(target, task)
        rules = SplitRules.of(split or {}, files)
        asides = rules.columns | ({"data.weight": weight} if weight else {})
        label, task = (None, task) if anomaly is None else (anomaly["label"], "anomaly")
        asides |= {LABEL: label} if label else {}
        read = None if transform else inputs
        options = read_options(read, target, task, csv, weight, load)
        needed = columns_to_read(read, named, asides) if named else None
        columns, parts = read_rows(dataset, source, format, needed, sample_rate, tile, options, rules.files)
        series = None
        names = named or ([] if task in ("reconstruction", "anomaly") else [_own_target(dataset)])
        if forecast is not None:
            series, rules = series_of(columns, parts, names, inputs, forecast, rules)
            columns, inputs, task, asides = series.columns, series.inputs, "forecasting", {}
            parts = published_parts(columns, 0)
        own = _own_task(dataset, names)
        if series is None:
            task = own if own == "generation" else task or own  # its loss alone would mean classification
        check_text_options(names, text_options, task)
        forms = TargetForms(names, task, outputs_of(target))
        columns = forms.read(columns)
        names, task = forms.names, forms.task
        tell_infinite_targets(names, infinite_targets(columns, names), rows_of(columns))
        kept = np.flatnonzero(~without_target(columns, names))
        parts = parts[kept]
        dropped = rows_of(columns) - len(kept)
        columns = take(columns, kept) if dropped else columns
        check_kept(names, len(kept), dropped)
        aside, others = set_aside(columns, inputs, names, asides)
        inputs = inputs if transform else others  # which are of what the transform returns
        known = known_kinds(dataset, source, format, load) | options.found
        hidden = [*names, *(one for one in (weight, label) if one)]
        made = transform and fit_transform(transform, columns, types, known, hidden, task)
        seen, inputs, known = made.encoded(columns, names, inputs) if made else (columns, inputs, known)
        stated = with_kinds(known, seen, inputs, names, missing, scale)
        if task == "generation" and not (set(columns) - set(names) if stated is None else stated):
            seen, stated = _with_prompt(columns, names[0], text_options)
            text_options = text_options | {"prompt": PROMPT}
        known_target = forms.target(columns) if series is None else series.target
        encoded = infer_schema(seen, stated, names, task, text_options, known=known_target)
        encoded = with_tags(encoded, seen)
        seen = conformed(encoded, seen)
        schema, columns = made.contract(encoded, columns) if made else (encoded, seen)
        profiles = profiles_of(columns)
        schema = with_nullable(schema, {name: found.missing > 0 for name, found in profiles.items()})
        identity = identify(schema, columns)
        parts, groups = parts_of_column(rules, aside, parts), groups_of(rules, aside)
        index = _divided(schema, columns | aside, rules, parts, identity, groups)
        index = usual_rows(index, aside, label)
        if series is not None:
            index = series.apart(index)
            series.check_folds(index, (split or {}).get("folds"))
            schema = schema.model_copy(update={"target": series.measured(index)})
        stays = {name: aside[name] for name in (rules.group, weight, label) if name is not None} | columns
        splits = {name: take(stays, rows) for name, rows in index.items()}
        check_weights(weight, splits)
        learned = identity.copy[np.concatenate([index["train"], index["validation"]])]
        tell_about_target(schema, columns, splits["test"], kept)
        tell_about_masks(schema.target, splits)
        known_parts = bool((parts != FREE).any())
        tell_leaks(schema, columns, index, identity, known_parts or rules.chosen, groups)
        some = take(seen, index["train"])
        encoded, looked = (encoded, profiles_of(seen)) if made else (schema, profiles)
        transforms = Transforms.fit(encoded, some, made.own.returning(encoded) if made else None)
        schema = with_input_as_target(schema, transforms, anomaly)
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
        summary |= split_summary(rules, aside, index)
        whole, held = whole_fingerprint(digests), identity.unit[index["test"]]
        kept = kept if series is None else series.origins
        places = kept[np.concatenate(list(index.values()))]
        return Prepared(schema, transforms, splits, whole, summary, learned, held, places)


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
    if options.get("tokens") == "subwords":
        options = {"tokens": "characters"}  # the tokens of a prompt are the target's, which are learned later
    return columns | {PROMPT: prompts}, [{"name": PROMPT, "kind": "text", **options}]


def _own_target(dataset: str | None) -> str:
    if dataset is None:
        raise SchemaError(
            "data.target is missing; expected the name of the column to predict; add data.target"
        )
    return DATASETS[dataset].target


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
    rules: SplitRules,
    parts: Parts,
    identity: RowIdentity,
    groups: Digests | None,
) -> dict[str, Rows]:
    """The row numbers of each part."""
    rows = divide(schema, columns, rules, parts, identity, groups)
    if rules.folds is not None:  # an error should come now, not after a model has been trained
        learned = np.concatenate([rows["train"], rows["validation"]])
        fold_rows(schema, take(columns, learned), rules.folds, 0, None if groups is None else groups[learned])
    return rows
