"""prepare: read the data, validate, split, fit the transforms on the training rows, fingerprint."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.store import Ref
from tidegate.infra.system.files import write_atomic
from tidegate.models.config.losses import task_of
from tidegate.models.data.columns import save_columns
from tidegate.models.data.read_options import OwnLoad
from tidegate.models.errors import ModelsError
from tidegate.models.preprocessing.prepare import Prepared as Rows
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.profile.column_lines import column_lines
from tidegate.models.readers.own.own_load import held_parts
from tidegate.pipelines.experiment.data import ASKED, STREAMED
from tidegate.pipelines.planning.data_source import sources_of, verify_sources
from tidegate.pipelines.planning.identity import STREAM_PART
from tidegate.pipelines.planning.kept_data import lay_out_source
from tidegate.pipelines.step_types.prepare import Prepared, PrepareInputs
from tidegate.pipelines.steps.context import StepContext

COLUMNS = "columns.txt"


def run(inputs: PrepareInputs, context: StepContext) -> Prepared:
    """Prepare the data.

    Raises:
        ModelsError: the data is missing, unreadable or does not fit the experiment.
        PipelineError: the data changed since the run was planned.
    """
    try:
        prepared = _prepared(inputs, context)
    except ModelsError:  # what the readers say of data that somebody writes to would mislead
        _verify(inputs)
        raise
    _verify(inputs)
    documents = {
        "schema": prepared.schema.model_dump(mode="json"),
        "transforms": prepared.transforms.to_dict(),
    }
    for name, document in documents.items():
        write_atomic(context.work / f"{name}.json", json.dumps(document).encode())
    for name, columns in prepared.splits.items():
        save_columns(context.work / f"{name}.npz", columns)
    np.save(context.work / "learned.npy", prepared.learned)
    np.save(context.work / "held.npy", prepared.held)
    if prepared.places is not None:
        np.save(context.work / "places.npy", prepared.places)
    rows = {name: prepared.summary["rows"][name] for name in prepared.splits}
    print(f"rows {rows}, fingerprint {prepared.fingerprint[:12]}")
    divided = dict(prepared.summary.get("split", {}))
    if divided:
        by = next(iter(divided))
        parts = (f"{part} {_span(of)}" for part, of in divided.items() if part != by)
        print(f"divided by {by} {divided[by]!r}: {', '.join(parts)}")
    lines = column_lines(prepared.summary["columns"])
    for line in lines:
        print(f"column {line}")
    warnings = [f"warning: {sentence}" for sentence in prepared.summary["warnings"]]
    for line in warnings:
        print(line)
    write_atomic(context.work / COLUMNS, "\n".join([*lines, "", *warnings, ""]).encode())
    memory = _memory(inputs, prepared)
    if memory is not None:
        print(f"streamed: the training rows stay on disk, in {len(prepared.shards)} shards")
    return Prepared(
        schema_=context.put(context.work / "schema.json"),
        transforms=context.put(context.work / "transforms.json"),
        train=context.put(context.work / "train.npz"),
        validation=context.put(context.work / "validation.npz"),
        test=context.put(context.work / "test.npz"),
        fingerprint=prepared.fingerprint,
        summary=prepared.summary,
        shards=tuple(prepared.shards),
        columns=context.put(context.work / COLUMNS),
        memory=memory,
        learned=context.put(context.work / "learned.npy"),
        held=context.put(context.work / "held.npy"),
        places=None if prepared.places is None else context.put(context.work / "places.npy"),
    )


def _span(of: Any) -> str:
    """The first and the last time of a part, or its number of groups."""
    return " to ".join(map(str, of)) if isinstance(of, list) else f"{of} groups"


def _memory(inputs: PrepareInputs, prepared: Rows) -> int | None:
    """The memory for streamed rows; None, if they are held in memory."""
    return inputs.memory or (inputs.memory_if_larger if prepared.shards else None)


def _sources(inputs: PrepareInputs, context: StepContext) -> dict[str, Path]:
    """By part, "" for the source, the data as a local path; {} for a built-in dataset."""
    found: dict[str, Path] = {}
    for part, source in sources_of(inputs.data).items():
        work = context.work / f"source{part}"
        kept = inputs.kept_files.get(part) if part else inputs.kept
        if kept is not None:
            found[part] = lay_out_source(context.store, kept, work)
        elif (
            path := source.fetch(work, inputs.file_digests.get(part) if part else inputs.digest)
        ) is not None:
            found[part] = path
    return found


def _verify(inputs: PrepareInputs) -> None:
    planned = {"": inputs.digest, **inputs.file_digests}
    copied = {*inputs.kept_files, *([""] if inputs.kept else [])}  # which the store has checked
    verify_sources(inputs.data, {part: digest for part, digest in planned.items() if part not in copied})


def _prepared(inputs: PrepareInputs, context: StepContext) -> Rows:
    data, files = inputs.data, _sources(inputs, context)
    source = files.pop("", None)
    task = data.task or task_of(inputs.loss)
    load, memory = _own_load(inputs, source)
    if memory is None or (source is None and load is None):
        return prepare(
            dataset=data.dataset,
            source=source,
            task=task,
            tile=data.tile,
            files=files,
            load=load,
            scale=inputs.scale,
            **data.model_dump(mode="json", include=ASKED),
        )

    def keep(path: Path) -> Ref:
        ref = context.put(path)
        path.unlink()
        return ref

    streamed = StreamedData(
        source=source,
        task=task,
        memory=memory,
        folder=context.work,
        keep=keep,
        load=load,
        **data.model_dump(mode="json", include=STREAMED),
    )
    return prepare_streamed(streamed)


def _own_load(inputs: PrepareInputs, source: Path | None) -> tuple[OwnLoad | None, int | None]:
    """The user's function that gives the rows, if there is one; and the memory, if they are streamed.

    Parts of an iterator are streamed where they do not fit into memory, unless the experiment says how it is.
    """
    if inputs.data.load is None:
        return None, inputs.memory
    load = OwnLoad(inputs.data.load, inputs.data.options)
    if inputs.memory is not None:
        return load, inputs.memory
    most = math.inf if inputs.memory_if_larger is None else inputs.memory_if_larger // STREAM_PART
    held = held_parts(load, source, most)
    return (load, inputs.memory_if_larger) if held is None else (replace(load, held=held), None)
