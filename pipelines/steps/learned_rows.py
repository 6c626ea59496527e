"""Which rows a model learned from: those it was trained on, and those that chose its weights.

A model that began with an earlier run's weights learned from that run's rows too. What `prepare` kept of its rows names
them; of outputs that older versions left, whose rows were divided by their places, the digests are made from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.store import Store
from tidegate.models.data.columns import concat, load_columns
from tidegate.models.preprocessing.row_identity import Digests, content_digests, identify, input_digests
from tidegate.models.preprocessing.schema import Schema
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.state.mirror import known_run
from tidegate.pipelines.step_types.prepare import Prepared

TOGETHER = 1 << 20  # digests in memory at once


def learned_by(home: Home, run: str) -> Iterator[Digests]:
    """The digests of the rows that a run's models learned from, in parts; in no order, some perhaps twice.

    Raises:
        PipelineError: they are not known any more.
    """
    seen: set[str] = set()
    following: str | None = run
    while following is not None and following not in seen:
        seen.add(following)
        record = known_run(home, following)
        outputs = outputs_of(home, record, "prepare") if record is not None else []
        if record is None or not outputs:
            raise PipelineError(
                f"the rows of run {following} are not kept any more; expected what its prepare step left; submit its "
                "experiment again"
            )
        yield from _digests(Prepared.model_validate(outputs[0]), home.store)
        following = _origin(home, record)


def among(home: Home, run: str, digests: Digests) -> NDArray[np.bool_]:
    """Which rows, by their digests, a run's models learned from; raises PipelineError as `learned_by`."""
    found = np.zeros(len(digests), np.bool_)
    for part in learned_by(home, run):
        for start in range(0, len(part), TOGETHER):
            found |= np.isin(digests, part[start : start + TOGETHER])
    return found


def digests_by(schema: Schema, columns: dict[str, Any]) -> Digests:
    """The digests of rows whose columns are more, or others, than those a model learned from."""
    return content_digests(schema, columns, input_digests(schema, columns))


def _digests(prepared: Prepared, store: Store) -> Iterator[Digests]:
    if prepared.learned is not None:
        yield np.load(store.fetch(prepared.learned), mmap_mode="r", allow_pickle=False)
        return
    schema = Schema.model_validate_json(store.fetch(prepared.schema_).read_bytes())
    rows = [load_columns(store.fetch(ref)) for ref in (prepared.train, prepared.validation)]
    yield identify(schema, concat([part for part in rows if part])).copy
    for shard in prepared.shards:
        yield digests_by(schema, load_columns(store.fetch(shard)))


def _origin(home: Home, record: RunRecord) -> str | None:
    """The run whose weights a run began with; by the name of an experiment, its newest run at that time."""
    model = record.experiment.get("model", {})
    asked: str | None = model.get("from_", model.get("from"))
    if asked is None or known_run(home, asked) is not None:
        return asked
    records = [folder.read() for folder in home.run_folders()]
    earlier = [one for one in records if one.name == asked and one.created < record.created]
    return next((one.run for one in earlier if one.status == "done"), asked)
