"""prepare: read the data, validate, split, fit the transforms on the training rows, fingerprint."""

import json
from pathlib import Path
from typing import Any

from tidegate.infra.store import Ref
from tidegate.infra.system.files import write_atomic
from tidegate.models.config.losses import task_of
from tidegate.models.data.columns import save_columns
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.pipelines.planning.data_source import source_here
from tidegate.pipelines.steps.context import StepContext, StepPart


class Inputs(StepPart):
    """The experiment's `data` part, its source a path, s3://... or what `keep_source` returned.

    Attributes:
        data: see above.
        loss: may tell the task.
        digest: of the data that the plan saw; what is in S3 must still have it.
        memory: bytes that rows pass through a part at a time; None: all are held.
    """

    data: dict[str, Any]
    loss: str | dict[str, Any] | None
    digest: str | None = None
    memory: int | None = None


class Outputs(StepPart):
    """The contract, the transforms, and the raw rows of each split.

    Attributes:
        schema_: Schema as JSON.
        transforms: Transforms as JSON.
        train, validation, test: raw columns, .npz without pickle; of streamed rows `train` is a sample.
        shards: all training rows, in files like it, where they are streamed.
        memory: see Inputs.
        fingerprint: SHA-256 over the content of all splits.
        summary: rows, classes and missing values, for people.
    """

    schema_: Ref
    transforms: Ref
    train: Ref
    validation: Ref
    test: Ref
    fingerprint: str
    summary: dict[str, Any]
    shards: tuple[Ref, ...] = ()
    memory: int | None = None

    def contract(self, context: StepContext) -> tuple[Schema, Transforms]:
        """The schema and the transforms, read from the store."""
        schema = Schema.model_validate_json(context.store.fetch(self.schema_).read_bytes())
        transforms = json.loads(context.store.fetch(self.transforms).read_bytes())
        return schema, Transforms.from_dict(transforms)


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Prepare the data.

    Raises:
        ModelsError: the data is missing, unreadable or does not fit the experiment.
    """
    prepared = _prepared(inputs, context)
    documents = {
        "schema": prepared.schema.model_dump(mode="json"),
        "transforms": prepared.transforms.to_dict(),
    }
    for name, document in documents.items():
        write_atomic(context.work / f"{name}.json", json.dumps(document).encode())
    for name, columns in prepared.splits.items():
        save_columns(context.work / f"{name}.npz", columns)
    rows = {name: prepared.summary["rows"][name] for name in prepared.splits}
    print(f"rows {rows}, fingerprint {prepared.fingerprint[:12]}")
    if inputs.memory is not None:
        print(f"streamed: the training rows stay on the disk, in {len(prepared.shards)} shards")
    return Outputs(
        schema_=context.put(context.work / "schema.json"),
        transforms=context.put(context.work / "transforms.json"),
        train=context.put(context.work / "train.npz"),
        validation=context.put(context.work / "validation.npz"),
        test=context.put(context.work / "test.npz"),
        fingerprint=prepared.fingerprint,
        summary=prepared.summary,
        shards=tuple(prepared.shards),
        memory=inputs.memory,
    )


def _prepared(inputs: Inputs, context: StepContext) -> Prepared:
    data = inputs.data
    source = source_here(data["source"], context.store, context.work / "source", inputs.digest)
    task = data["task"] or task_of(inputs.loss)
    asked = {key: data[key] for key in ("format", "inputs", "target", "split", "sample_rate")}
    tile = data.get("tile")
    if inputs.memory is None or source is None:
        return prepare(dataset=data["dataset"], source=source, task=task, tile=tile, **asked)

    def keep(path: Path) -> Ref:
        ref = context.put(path)
        path.unlink()
        return ref

    streamed = StreamedData(
        source=source, task=task, memory=inputs.memory, folder=context.work, keep=keep, **asked
    )
    return prepare_streamed(streamed)
