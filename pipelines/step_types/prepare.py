"""Inputs and outputs of `prepare`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tidegate.infra.store import Ref
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.code import CodedInputs


class KeptFile(StepPart):
    """A stored data file: its path, which begins with the name of the source, and its content in the store."""

    path: str
    ref: Ref


class Kept(StepPart):
    """Data in a store: its files, or one zip if there are many; see `planning.kept_data`."""

    name: str
    files: tuple[KeptFile, ...] = ()
    packed: Ref | None = None


class PrepareInputs(CodedInputs):
    """The experiment's `data` part, and where its rows are.

    Attributes:
        data: see above.
        loss: the task may follow from it.
        kept: what `keep_source` returned for a source on another machine; None: it is where `data` says.
        digest: of the data when the run was planned; it must still have it.
        kept_files, file_digests: the same of the files that `data.split` names, by part.
        memory: bytes of memory for streaming the rows in parts; None: all rows are held in memory.
        memory_if_larger: the same for rows of which only `data.load` knows whether they fit into memory.
        scale: of numbers and images that do not state it.
    """

    data: Data
    loss: str | dict[str, Any] | None
    kept: Kept | None = None
    digest: str | None = None
    kept_files: Mapping[str, Kept] = Field(default_factory=dict)
    file_digests: Mapping[str, str] = Field(default_factory=dict)
    memory: int | None = None
    memory_if_larger: int | None = None
    scale: Literal["none"] | None = None


class Prepared(StepPart):
    """The contract, the transforms, and the raw rows of each split.

    Attributes:
        schema_: Schema as JSON.
        transforms: Transforms as JSON.
        train, validation, test: raw columns, .npz without pickle; if rows are streamed, `train` is a sample.
        shards: if rows are streamed, all training rows in files of the same format.
        memory: see `PrepareInputs`.
        fingerprint: SHA-256 over the content of all splits.
        learned: digests of the training and validation rows, `.npy`; None in outputs of older versions, as is `held`.
        held: of the test rows, in their order; see `models.preprocessing.prepare.Prepared`.
        summary: rows, classes, `columns`, an entry a column, and `warnings`, sentences about the data, for the user.
        places: of the rows of train, validation and test, which row of the source each one was, `.npy`; None if
            they are streamed, and in runs of earlier versions.
        columns: a line a column, as text; None in runs of earlier versions.
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
    learned: Ref | None = None
    held: Ref | None = None
    columns: Ref | None = None
    places: Ref | None = None
