"""The rows of a trial, as they are stored and as the model sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.store import Store
from tidegate.models.data.columns import Array, Columns, load_columns
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.preprocessing.weights import weights_of
from tidegate.models.training.recipe import Rows
from tidegate.pipelines.step_types.prepare import Prepared

if TYPE_CHECKING:
    from tidegate.models.preprocessing.windows import ShuffleWindows


class TrialRows:
    """Reads the splits that `prepare` made.

    Args:
        store: where they are.
        prepared: the outputs of `prepare`.
        schema: of the data.
        transforms: raw columns to model inputs.
        weight: the column of the rows' weights; None: they have none.
    """

    def __init__(
        self,
        store: Store,
        prepared: Prepared,
        schema: Schema,
        transforms: Transforms,
        weight: str | None = None,
    ) -> None:
        self._weight = weight
        self._store, self._prepared = store, prepared
        self._schema, self._transforms = schema, transforms

    def columns(self, split: str) -> Columns:
        """A split's raw columns."""
        return load_columns(self._store.fetch(getattr(self._prepared, split)))

    def places(self) -> NDArray[np.int64]:
        """Of the rows of all splits, training rows first, which row of the source each was; of a forecast its step."""
        assert self._prepared.places is not None
        found: NDArray[np.int64] = np.load(self._store.fetch(self._prepared.places), allow_pickle=False)
        return found

    def encoded(self, split: str) -> Rows:
        """A split as the model sees it: inputs by name, and the encoded target."""
        columns = self.columns(split)
        return self._transforms.apply(columns), self._transforms.target(self._schema, columns)

    def weights(self, split: str) -> Array | None:
        """The weights of a split's rows, float32 `(n,)`; None where they have none, or windows bring them."""
        if self._weight is None or (split == "train" and self._prepared.memory is not None):
            return None
        return weights_of(self._weight, self.columns(split))

    def training(self, batch: int, buffer: int | None) -> Rows | ShuffleWindows:
        """The training rows; if they are streamed, windows over them, which is printed.

        Args:
            batch: rows per batch.
            buffer: rows per window; None: as many as fit in memory.
        """
        prepared = self._prepared
        if prepared.memory is None:
            return self.encoded("train")
        from tidegate.models.preprocessing.windows import ShuffleWindows

        paths = [self._store.fetch(shard) for shard in prepared.shards]
        classes = self._schema.target.classes
        counts = np.array([prepared.summary["classes"][str(name)]["train"] for name in classes], np.int64)
        windows = ShuffleWindows(
            paths, self._schema, self._transforms, counts, prepared.memory, batch, buffer, self._weight
        )
        print(
            f"streamed: {windows.rows} rows in {len(paths)} shards, {windows.size} at a time in memory",
            flush=True,
        )
        return windows
