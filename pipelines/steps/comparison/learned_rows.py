"""Which rows a model learned from: those it was trained on, and those that chose its weights.

A model that began with an earlier run's weights learned from that run's rows too. What `prepare` kept of its rows names
them; of outputs that older versions left, whose rows were divided by their places, the digests are made from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.store import Store
from tidegate.models.data.columns import Columns, concat, load_columns
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.row_identity import content_digests, identify, input_digests
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.state.mirror import known_run
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract

SOME = 10_000  # of this run's learned rows, by which it is told whether the data has rows that a run learned from
FEWEST = 30  # rows that judge a model; fewer are enough where they are at least half of the test rows
ALIKE = 0.8  # of the rows, so many that two runs may have the same data
KNOWN = 0.01  # of the rows, from which on they are the same data
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
        record, prepared = _prepared_by(home, following)
        yield from _digests(prepared, home.store)
        following = _origin(home, record)


def among(home: Home, run: str, digests: Digests) -> NDArray[np.bool_]:
    """Which rows, by their digests, a run's models learned from; raises PipelineError as `learned_by`."""
    found = np.zeros(len(digests), np.bool_)
    for part in learned_by(home, run):
        for start in range(0, len(part), TOGETHER):
            found |= np.isin(digests, part[start : start + TOGETHER])
    return found


def unlearned(
    context: StepContext, prepared: Prepared, run: str, theirs: Schema | None = None
) -> NDArray[np.bool_]:
    """Which test rows a run's models did not learn from.

    Args:
        context: of the step.
        prepared: the rows.
        run: the run.
        theirs: the schema of the run's rows; None: as its prepare step left it.

    Raises:
        PipelineError: as `learned_by`.
    """
    home, store = context.home, context.store
    ours, _ = read_contract(prepared, store)
    theirs = theirs or _schema_of(home, run)
    if prepared.held is not None and _names(ours) == _names(theirs):
        digests = np.load(store.fetch(prepared.held), allow_pickle=False)
    elif not _names(ours) & _names(theirs):  # other data altogether
        return np.ones(prepared.summary["rows"]["test"], np.bool_)
    else:  # the run's rows had other columns; those that this data lacks are no columns of these rows
        known = Schema(
            inputs=tuple(field for field in ours.inputs if field.name in _names(theirs)), target=ours.target
        )
        digests = digests_by(known, load_columns(store.fetch(prepared.test)))
    return ~among(home, run, digests)


def strangers(
    context: StepContext, prepared: Prepared, run: str, theirs: Schema
) -> tuple[int, int, int] | None:
    """How many of this run's learned rows were looked at, how many it has, and how many a run's models had.

    None if a hundredth of them or more is among those, or if none are expected there: the columns differ, or the
    numbers of rows by more than a quarter.

    Args:
        context: of the step.
        prepared: the rows.
        run: the run.
        theirs: its schema.

    Raises:
        PipelineError: as `learned_by`.
    """
    ours, _ = read_contract(prepared, context.store)
    if prepared.learned is None or (_names(ours), ours.target.names) != (_names(theirs), theirs.target.names):
        return None
    rows, others = _learned_rows(prepared), _learned_rows(_prepared_by(context.home, run)[1])
    if min(rows, others) < ALIKE * max(rows, others):
        return None
    learned = np.load(context.store.fetch(prepared.learned), mmap_mode="r", allow_pickle=False)
    some = learned[:: -(-len(learned) // SOME)]
    found = int(among(context.home, run, some).sum())
    return (len(some), rows, others) if found < KNOWN * len(some) else None


def too_few(count: int, rows: int) -> bool:
    """Whether `count` of `rows` test rows are too few to judge a model by."""
    return count < min(FEWEST, rows / 2)


def digests_by(schema: Schema, columns: Columns) -> Digests:
    """The digests of rows of which other columns than their own are compared."""
    return content_digests(schema, columns, input_digests(schema, columns))


def _learned_rows(prepared: Prepared) -> int:
    rows: dict[str, int] = prepared.summary["rows"]
    return rows["train"] + rows["validation"]


def _names(schema: Schema) -> set[str]:
    return {field.name for field in schema.inputs}


def _schema_of(home: Home, run: str) -> Schema:
    return Schema.model_validate_json(home.store.fetch(_prepared_by(home, run)[1].schema_).read_bytes())


def _prepared_by(home: Home, run: str) -> tuple[RunRecord, Prepared]:
    record = known_run(home, run)
    outputs = outputs_of(home, record, "prepare") if record is not None else []
    if record is None or not outputs:
        raise PipelineError(
            f"the rows of run {run} are not kept any more; expected what its prepare step left; submit its experiment "
            "again"
        )
    return record, Prepared.model_validate(outputs[0])


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
