"""What `prepare` takes and leaves."""

from typing import Any

from tidegate.infra.store import Ref
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.step_types.base import StepPart


class KeptFile(StepPart):
    """A file of kept data: its path, which begins with the name of the source, and where its content is."""

    path: str
    ref: Ref


class Kept(StepPart):
    """Data that was put into a store: each of its files, or of many one zip of all; see `planning.kept_data`."""

    name: str
    files: tuple[KeptFile, ...] = ()
    packed: Ref | None = None


class PrepareInputs(StepPart):
    """The experiment's `data` part, and where its rows are.

    Attributes:
        data: see above.
        loss: may tell the task.
        kept: what `keep_source` returned of a source that is on another machine; None: it is where `data` says.
        digest: of the data that the plan saw; what is in S3 must still have it.
        memory: bytes that rows pass through a part at a time; None: all are held.
    """

    data: Data
    loss: str | dict[str, Any] | None
    kept: Kept | None = None
    digest: str | None = None
    memory: int | None = None


class Prepared(StepPart):
    """The contract, the transforms, and the raw rows of each split.

    Attributes:
        schema_: Schema as JSON.
        transforms: Transforms as JSON.
        train, validation, test: raw columns, .npz without pickle; of streamed rows `train` is a sample.
        shards: all training rows, in files like it, where they are streamed.
        memory: see `PrepareInputs`.
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
