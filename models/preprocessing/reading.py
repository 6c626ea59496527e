"""Which columns of a source are read, as what, and the kinds of inputs that are known before their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.models.data.columns import Columns, concat, rows_of, unknown_column
from tidegate.models.data.item_lists import TAGS
from tidegate.models.data.read_options import CsvOptions, OwnLoad, ReadOptions
from tidegate.models.data.sources import existing
from tidegate.models.datasets import DATASETS, format_of, load, load_dataset
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.splitting.rules import Parts, file_parts, published_parts
from tidegate.models.readers.audio_folder import KINDS as AUDIO_KINDS
from tidegate.models.readers.text_folder import KINDS as TEXT_KINDS

FORMAT_KINDS: dict[str, Mapping[str, str]] = {
    "audio_folder": AUDIO_KINDS,
    "text_folder": TEXT_KINDS,
    "image_folder": {"image": "image"},
    "boxes": {"image": "image"},
    "masks": {"image": "image"},
}


def read_rows(
    dataset: str | None,
    source: str | Path | None,
    format: str | None,
    columns: Sequence[str] | None,
    sample_rate: int | None,
    tile: int | None,
    options: ReadOptions,
    files: Mapping[str, Path],
) -> tuple[Columns, Parts]:
    """All rows, and the part of each that a published split or a file of its own gives, see `splitting.rules`.

    Args:
        dataset, source, format, sample_rate, tile: see `preprocessing.prepare.prepare`.
        columns: those to read; None means all.
        options: as what they are read.
        files: by part, a file that holds its rows.

    Raises:
        DataError: something cannot be read.
    """
    if dataset is not None:
        rows, published = load_dataset(dataset, tile)
        return rows, published_parts(rows, published)
    several: dict[str, Path | None] = {}
    several |= {part: existing(path, f"data.split.{part}") for part, path in files.items()}
    if several:
        several = {"": None if options.load and source is None else existing(source), **several}
    options = replace(options, with_files=tuple(path for path in several.values() if path is not None))
    read = partial(load, format=format, columns=columns, sample_rate=sample_rate, tile=tile)
    if not several:
        rows = read(source=source, options=options)
        return rows, published_parts(rows, 0)
    try:
        found = {part: read(source=path, options=options) for part, path in several.items()}
    except SchemaError as error:
        _name_file(error, files, partial(read, options=replace(options, with_files=())))
        raise
    _check_same_columns(found, files)
    rows = concat(list(found.values()))
    return rows, file_parts([(part, rows_of(own)) for part, own in found.items()])


def _name_file(error: SchemaError, files: Mapping[str, Path], read: Callable[..., Columns]) -> None:
    """Raise the error of the file that has it."""
    for part, path in files.items():
        try:
            read(source=path)
        except SchemaError as own:
            raise SchemaError(f"data.split.{part} {path}: {own}") from error


def _check_same_columns(found: Mapping[str, Columns], files: Mapping[str, Path]) -> None:
    first = found[""]
    for part, own in found.items():
        if set(own) != set(first):
            more, less = (
                ", ".join(sorted(names)) for names in (set(own) - set(first), set(first) - set(own))
            )
            words = " and ".join(text for text in (more and f"also {more}", less and f"no {less}") if text)
            raise SchemaError(
                f"data.split.{part} {files[part]} has {words}, unlike data.source; expected the same columns in "
                "both; name the columns to use in data.inputs, or write the file again"
            )


def columns_to_read(
    inputs: Sequence[Mapping[str, Any]] | None, target: Sequence[str], aside: Mapping[str, str]
) -> list[str] | None:
    """The columns that are read: inputs, target and those that `aside` names; None means all."""
    if inputs is None:
        return None
    return list(dict.fromkeys([*(entry["name"] for entry in inputs), *target, *aside.values()]))


def set_aside(
    columns: Columns,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str],
    aside: Mapping[str, str],
) -> tuple[Columns, Sequence[Mapping[str, Any]] | None]:
    """The columns that `aside` names, and the inputs without them, unless `inputs` names them.

    Args:
        columns: all that were read.
        inputs: as stated; None means all other columns.
        target: names of the target columns.
        aside: by option, such as data.weight, the column that it names.

    Raises:
        SchemaError: there is no such column, or it is the target.
    """
    for option, name in aside.items():
        if name not in columns:
            raise unknown_column(name, columns, option)
        if name in target:
            raise SchemaError(
                f"{option} is {name!r}, which is the target; expected another column; correct one of them"
            )
    if aside and inputs is None:
        inputs = [{"name": name} for name in columns if name not in target and name not in aside.values()]
    return {name: columns[name] for name in aside.values()}, inputs


def read_options(
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str | Mapping[str, Any]] | None,
    task: str | None,
    csv: Mapping[str, Any] | None,
    weight: str | None = None,
    load: OwnLoad | None = None,
) -> ReadOptions:
    """How the source is read: columns as their stated kinds say; the target of a stated regression is numbers."""
    kinds = {entry["name"]: entry["kind"] for entry in inputs or () if entry.get("kind")}
    for entry in target or ():
        name, kind = (entry, None) if isinstance(entry, str) else (entry["name"], entry.get("kind"))
        if kind is not None or task == "regression":
            kinds[name] = kind or "numeric"
        elif task == "tagging":
            kinds[name] = TAGS
        elif not isinstance(entry, str) and entry.get("task") in ("regression", "multilabel"):
            kinds[name] = {"regression": "numeric", "multilabel": "labels"}[entry["task"]]
    if weight is not None:
        kinds.setdefault(weight, "numeric")
    names = frozenset(entry if isinstance(entry, str) else entry["name"] for entry in target or ())
    return ReadOptions(
        kinds,
        CsvOptions.of(csv),
        load=load,
        labels=names if task == "classification" else frozenset(),
        quantities=names if task == "regression" else frozenset(),
        targets=names,
    )


def known_kinds(
    dataset: str | None, source: str | Path | None, format: str | None, load: OwnLoad | None = None
) -> dict[str, str]:
    """The kinds of inputs that a built-in dataset or a format knows and that cannot be inferred from values."""
    if load is not None:
        return {}
    if dataset is not None:
        return dict(DATASETS[dataset].kinds)
    return dict(FORMAT_KINDS.get(format_of(existing(source), format), {}))


def with_kinds(
    kinds: Mapping[str, str],
    columns: Columns,
    inputs: Sequence[Mapping[str, Any]] | None,
    target: Sequence[str],
    missing: str | None = None,
    scale: str | None = None,
) -> Sequence[Mapping[str, Any]] | None:
    """The stated inputs, with known kinds and the rules for missing values and scale added where none is stated."""
    if not kinds and missing is None and scale is None:
        return inputs
    stated = [{"name": name} for name in columns if name not in target] if inputs is None else inputs
    return [
        {
            **entry,
            "kind": entry.get("kind") or kinds.get(entry["name"]),
            "missing_of_all": missing,
            "scale_of_all": scale,
        }
        for entry in stated
    ]


def with_kind(inputs: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """The inputs whose kind is stated."""
    return [entry["name"] for entry in inputs or () if entry.get("kind")]
