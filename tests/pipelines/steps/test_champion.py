"""Candidate and champion are compared on rows that neither learned from, by the real select step."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import package, write_onnx
from tidegate.infra.store import Ref
from tidegate.models.data.columns import Columns, concat, load_columns, rows_of, save_columns, take
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.row_identity import identify
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.experiment.gate import Criterion
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.state.home import Home, RunRecord, StepRecord
from tidegate.pipelines.step_types.prepare import Prepared, PrepareInputs
from tidegate.pipelines.step_types.select import Selected, SelectInputs
from tidegate.pipelines.step_types.train import Trained
from tidegate.pipelines.steps import prepare, select
from tidegate.pipelines.steps.context import StepContext

NOTHING = Ref(digest="0" * 64, size=0, name="none")


def table(count: int, seed: int = 0) -> Columns:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, count))
    return {"a": a, "b": b, "y": a + b + random.normal(size=count)}


class Nights:
    """A home in which a champion was released, and candidates are compared with it."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder, self.count = Home(folder / "home"), folder, 0

    def context(self) -> StepContext:
        self.count += 1
        work = self.folder / f"work-{self.count}"
        work.mkdir()
        return StepContext(self.home, self.home.folder_of("candidate"), "id", f"key{self.count}", work)

    def prepared(self, columns: Columns, inputs: list[str] | None = None) -> Prepared:
        file = self.folder / "data.csv"
        lines = [
            ",".join(map(str, row)) for row in zip(*(one.tolist() for one in columns.values()), strict=True)
        ]
        file.write_text("\n".join([",".join(columns), *lines]) + "\n")
        asked = {"source": str(file), "target": "y", **({"inputs": inputs} if inputs else {})}
        return prepare.run(PrepareInputs(data=Data.model_validate(asked), loss=None), self.context())

    def by_place(self, prepared: Prepared, columns: Columns) -> Prepared:
        """What an older version left: rows divided by their places, and no digests."""
        context, order, count = (
            self.context(),
            np.random.default_rng(7).permutation(rows_of(columns)),
            rows_of(columns),
        )
        edges = {"train": order[: count * 7 // 10], "validation": order[count * 7 // 10 : count * 8 // 10]}
        refs = {}
        for name, rows in {**edges, "test": order[count * 8 // 10 :]}.items():
            save_columns(context.work / f"{name}.npz", take(columns, np.array(rows)))
            refs[name] = context.put(context.work / f"{name}.npz")
        return prepared.model_copy(update={**refs, "learned": None, "held": None})

    def release(self, prepared: Prepared, *, start: str | None = None, run: str = "run-1") -> str:
        """The digest of a champion: a random network of the prepared rows."""
        self.record(prepared, run, start)
        context = self.context()
        schema = Schema.model_validate_json(self.home.store.fetch(prepared.schema_).read_bytes())
        columns = load_columns(self.home.store.fetch(prepared.test))
        inputs = {field.name: columns[field.name] for field in schema.inputs}
        bundle = package(
            context.work,
            schema,
            inputs,
            lambda path, name, spec: write_onnx(path, name, spec.shape, 1, "Identity"),
            run=run,
        )
        return keep_bundle(self.home, bundle)

    def record(self, prepared: Prepared, run: str, start: str | None = None) -> None:
        key = f"prepare-{run}"
        document = {"run": run, "step": "prepare", "outputs": prepared.model_dump(mode="json")}
        self.home.store.write(f"steps/{key}.json", json.dumps(document).encode(), None)
        folder = self.home.folder_of(run)
        folder.create()
        steps = [StepRecord(id=key, step="prepare", status="done", key=key)]
        experiment: dict[str, Any] = {"model": {"from_": start}}
        folder.write(
            RunRecord(
                run=run,
                name="n",
                endpoint="n",
                status="done",
                created=time.time(),
                steps=steps,
                experiment=experiment,
            )
        )

    def select(
        self,
        prepared: Prepared,
        champion: str | None,
        noise: float = 0.1,
        start: str | None = None,
        trials: list[dict[str, float]] | None = None,
        own: dict[str, Any] | None = None,
        **gate: Any,
    ) -> Selected:
        """The gate's decision on a candidate that is wrong by `noise`."""
        context = self.context()
        truth = load_columns(self.home.store.fetch(prepared.test))["y"]
        answers = truth + noise * np.random.default_rng(0).normal(size=len(truth))
        np.save(context.work / "reference.npy", answers.astype(np.float32)[:, None])
        known_metrics = {"test_rmse": noise, "test_r2": 0.5, "test_within": 0.9, "test_found": 1.0}
        trained = Trained(
            id="train-0", index=0, keras=NOTHING, onnx=None, export_error="", report=NOTHING, events=NOTHING,
            reference=context.put(context.work / "reference.npy"), activation="linear", params={}, monitor="loss",
            metrics=known_metrics, value=0.0, curve=[], pruned=False, epochs=1,
        )  # fmt: skip
        criterion = Criterion.model_validate({"metric": "test_rmse", **gate})
        known = [
            trained.model_copy(update={"id": f"train-{place}", "metrics": one})
            for place, one in enumerate(trials or [])
        ]
        inputs = SelectInputs(
            run="candidate",
            endpoint="n",
            gate=[criterion],
            trials=known or [trained],
            champion=champion,
            prepared=prepared,
            start=start,
            own_scored=own or {},
        )
        return select.run(inputs, context)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_a_metric_of_ones_own_compares_too(
    nights: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the user's function, for the candidate and for the champion on the same rows."""
    (tmp_path / "within.py").write_text(
        "from keras import ops\n"
        "def within(y_true, y_pred, width=1.0):\n"
        "    return ops.mean(ops.cast(ops.abs(y_true - y_pred) < width, 'float32'), axis=-1)\n"
        "def found(y_true, y_pred, above):\n"
        "    return ops.mean(ops.abs(y_true - y_pred)) / ops.max(ops.cast(y_true > above, 'float32'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    prepared = nights.prepared(table(500))
    champion = nights.release(prepared)
    highest = np.sort(load_columns(nights.home.store.fetch(prepared.test))["y"])[-2:].mean()
    asked = [{"name": "within:within", "width": 0.2}, {"name": "within:found", "above": float(highest)}]
    own = {"metrics": asked, "loss": None, "label_smoothing": 0.0, "backend": "tensorflow"}
    better = nights.select(prepared, champion, own=own, metric="test_within", improve_on_champion=0.1)
    assert better.refused == [] and better.warnings == ()
    assert better.compared[0].startswith("test_within 0.97 against 0.05 of the champion on 100 rows")
    assert "95 % interval" in better.compared[0]
    one_row = nights.select(prepared, champion, own=own, metric="test_found", improve_on_champion=0.1)
    assert one_row.refused[0].endswith(
        "expected an improvement of 0.1"
    )  # more is better, and its error is smaller
    assert "no value without some of the 100 rows; the numbers" in one_row.warnings[0]


def test_a_better_candidate_passes_and_a_worse_one_does_not(nights: Nights) -> None:
    prepared = nights.prepared(table(500))
    champion = nights.release(prepared)
    better = nights.select(prepared, champion, improve_on_champion=0.1)
    assert better.refused == [] and better.warnings == ()
    assert "of the champion on 100 rows that neither learned from; difference -" in better.compared[0]
    assert "95 % interval" in better.compared[0]
    (reason,) = nights.select(prepared, champion, noise=20.0).refused
    assert reason.endswith("expected not worse")


def test_data_that_grew_is_compared_on_what_the_champion_did_not_learn(nights: Nights) -> None:
    first = table(2500)
    champion = nights.release(nights.prepared(first))
    again = nights.prepared(concat([first, table(300, 1)]))
    found = nights.select(again, champion)
    assert f"on {again.summary['rows']['test']} rows" in found.compared[0]


@pytest.mark.parametrize(("more", "few"), [(300, False), (0, True)])
def test_a_champion_split_by_place_is_compared_on_the_rows_it_did_not_learn(
    nights: Nights, more: int, few: bool
) -> None:
    first = table(100 if few else 2500)
    older = nights.by_place(nights.prepared(first), first)
    champion = nights.release(older)
    again = nights.prepared(concat([first, table(more, 1)]) if more else first)
    schema = Schema.model_validate_json(nights.home.store.fetch(again.schema_).read_bytes())

    def load(ref: Ref) -> Columns:
        return load_columns(nights.home.store.fetch(ref))

    learned = identify(schema, concat([load(older.train), load(older.validation)])).content
    clean = int((~np.isin(identify(schema, load(again.test)).content, learned)).sum())
    found = nights.select(again, champion)
    if few:
        assert (
            f"all but {clean}; expected at least 30 that neither model learned from; add new rows"
            in found.refused[0]
        )
    else:
        assert 30 < clean < again.summary["rows"]["test"] / 2
        assert f"on {clean} rows" in found.compared[0] and found.refused == []


def test_a_champion_with_fewer_inputs_is_known_by_those(nights: Nights) -> None:
    rows = table(2500)
    champion = nights.release(nights.prepared(rows, ["a"]))
    found = nights.select(nights.prepared(rows), champion)
    count = int(found.compared[0].split(" rows")[0].split()[-1].replace(",", ""))
    assert 30 < count < 200  # a fifth of the test rows: the other digests gave them other parts


def test_what_the_run_that_a_champion_began_with_learned_counts_too(nights: Nights) -> None:
    rows = table(2500)
    older = nights.by_place(nights.prepared(rows), rows)
    nights.record(older, "run-0")
    champion = nights.release(nights.prepared(rows), start="run-0")
    found = nights.select(nights.prepared(rows), champion)
    assert int(found.compared[0].split(" rows")[0].split()[-1]) < 200


def test_a_champion_of_which_nothing_is_known_is_compared_with_a_warning(nights: Nights) -> None:
    prepared = nights.prepared(table(500))
    champion = nights.release(prepared)
    (nights.home.folder_of("run-1").path / "run.json").unlink()
    found = nights.select(prepared, champion)
    assert found.refused == [] and "on 100 rows" in found.compared[0]
    assert "compared as if it knew none of the 100 test rows" in found.warnings[0]


@pytest.mark.parametrize(("count", "warned"), [(500, True), (450, True), (900, False)])
def test_rows_that_are_as_many_and_all_others_may_be_the_same_ones(
    nights: Nights, count: int, warned: bool
) -> None:
    first = table(500)
    champion = nights.release(nights.prepared(first))
    rounded = {name: column.round(6) for name, column in first.items()}
    found = nights.select(
        nights.prepared(table(900, 1) if count > 500 else take(rounded, np.arange(count))), champion
    )
    assert found.refused == [] and len(found.warnings) == warned
    if warned:
        said = f"it learned from 400 rows, this run from {count * 4 // 5}, and of {count * 4 // 5} of these hardly any"
        assert said in found.warnings[0]


def test_dates_written_in_another_way_are_the_same_rows(nights: Nights) -> None:
    first = table(2500)
    days = [f"{2000 + row % 20}-{row % 12 + 1:02}-{row % 28 + 1:02}" for row in range(2500)]
    older, newer = (
        nights.prepared({"when": np.array([form(day) for day in days], object), **first})
        for form in (str, lambda day: f"{day} 00:00:00")
    )
    found = nights.select(newer, nights.release(older))
    assert found.warnings == () and f"on {newer.summary['rows']['test']} rows" in found.compared[0]
    assert older.learned == newer.learned


def test_without_a_comparison_nothing_is_compared(nights: Nights) -> None:
    prepared = nights.prepared(table(500))
    found = nights.select(prepared, nights.release(prepared), noise=20.0, improve_on_champion=None)
    assert (found.refused, found.compared) == ([], ())


def test_rows_that_the_candidates_own_origin_learned_are_left_out(nights: Nights) -> None:
    rows = table(2500)
    prepared = nights.prepared(rows)
    nights.record(nights.by_place(prepared, rows), "run-0")
    champion = nights.release(prepared)
    found = nights.select(prepared, champion, start="run-0")
    assert int(found.compared[0].split(" rows")[0].split()[-1]) < 200
    unknown = nights.select(prepared, champion, start="run-9")
    assert (
        "the candidate of" in unknown.warnings[0] and "rows of run run-9 are not kept" in unknown.warnings[0]
    )


def test_validation_rows_choose_the_winner_of_a_search(nights: Nights) -> None:
    prepared = nights.prepared(table(500))
    both = {"test_rmse": 1.0, "test_r2": 0.0}
    trials = [({**both, "validation_rmse": 2.0}), ({"test_rmse": 2.0, "validation_rmse": 1.0})]
    found = nights.select(prepared, None, trials=trials)
    assert (found.metrics["test_rmse"], found.ranked_by, found.warnings) == (2.0, "validation_rmse", ())
    without = nights.select(prepared, None, trials=[{"test_rmse": 2.0}, {"test_rmse": 1.0}])
    assert without.metrics["test_rmse"] == 1.0
    assert "the same rows chose the winner of 2 trials and give its test_rmse" in without.warnings[0]
