"""Silent faults planted in data that is right: each must be told or refused, and the data without it must not be.

What only training shows is in the slow part.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from tidegate.models.errors import ModelsError
from tidegate.models.export.onnx import export_saved
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.executors import make_executor
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.prepare import PrepareInputs
from tidegate.pipelines.steps.prepare import _prepared

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
Row = dict[str, Any]


def good_rows() -> list[Row]:
    """Customers: who pays much and calls often leaves, with a little noise."""
    random = np.random.default_rng(4)
    rows: list[Row] = []
    for _ in range(300):
        pays, calls = float(random.normal(50, 12)), int(random.poisson(3))
        leaves = (pays - 50) / 12 + (calls - 3) / 2 + random.normal(0, 0.3) > 0.1
        city = ("Ulm", "Bonn", "Kiel")[int(random.integers(3))]
        rows.append({"pays": round(pays, 2), "calls": calls, "city": city, "leaves": ("no", "yes")[leaves]})
    return rows


class Fault(NamedTuple):
    """What is planted in each row, and in the `data` part; and what must be said: a refusal, or told."""

    plant: Callable[[int, Row], Row]
    said: str
    refused: bool = False
    data: Mapping[str, Any] = MappingProxyType({})
    delimiter: str = ","


def nothing(_: int, __: Row) -> Row:
    return {}


LIMITED = {"inputs": ["pays", {"name": "city", "kind": "categorical", "limit": 2}]}
IDS = np.random.default_rng(5).permutation(10**6)[:300].tolist()
FAULTS: dict[str, Fault] = {
    "a scaler on ids": Fault(
        lambda i, _: {"customer_id": IDS[i]}, "'customer_id' is named as an id .* scaled"
    ),
    "an index as an input": Fault(lambda i, _: {"nr": i}, "'nr' counts the rows"),
    "a dropped class": Fault(
        lambda i, _: {"leaves": "maybe"} if i == 41 else {}, r"'maybe' \(row 42\) has one row"
    ),
    "a label in two spellings": Fault(
        lambda i, row: {"leaves": row["leaves"].title()} if i % 9 == 0 else {},
        "differ only in case or spaces",
    ),
    "a target that hardly varies": Fault(
        lambda i, _: {"leaves": i + 0.5 if i % 20 == 0 else 0.0}, "is 0.0 in 285 of 300 rows"
    ),
    "a number that gives the answer away": Fault(
        lambda _, row: {"cancelled": int(row["leaves"] == "yes")}, "'cancelled' alone predicts the target"
    ),
    "a text that gives the answer away": Fault(
        lambda _, row: {"state": "gone" if row["leaves"] == "yes" else "here"},
        "'state' alone predicts the target",
    ),
    "decimal commas": Fault(
        lambda _, row: {"pays": str(row["pays"]).replace(".", ",")}, "decimal ',' in pays", delimiter=";"
    ),
    "a thousands mark that may be a decimal one": Fault(
        lambda _, row: {"pays": f"1,{int(row['pays']):03d}"}, "read as 1.* but could be 1"
    ),
    "a marker for missing that nobody knows": Fault(
        lambda i, _: {"pays": "k.A."} if i % 50 == 3 else {},
        "'pays' holds numbers, and 6 of 300 cells are none, such as 'k.A.'",
        refused=True,
    ),
    "numbers with a unit": Fault(
        lambda _, row: {"pays": f"{row['pays']} EUR"}, "numbers with a unit", refused=True
    ),
    "dates that can be read in two ways": Fault(
        lambda i, _: {"since": f"0{1 + i % 9}/0{1 + i % 7}/2024"},
        "day and month cannot be told apart",
        refused=True,
    ),
    "codes that lose their zeros": Fault(
        lambda i, _: {"code": f"0{1000 + i % 40}"}, "'code': codes with leading zeros"
    ),
    "whole numbers that lose digits": Fault(
        lambda i, _: {"account": 2**53 + 1 + 7 * i if i % 5 else ""},
        "'account' holds 240 different texts",
        refused=True,
    ),
    "categories beyond the limit": Fault(
        nothing, "the 2 most frequent ones are known: .* rows have another", data=LIMITED
    ),
    "a category a row": Fault(
        lambda i, _: {"name": f"n{i}x"}, "'name' holds 300 different texts", refused=True
    ),
    "a column without a value": Fault(lambda _, __: {"phone": ""}, "'phone' has no value in any row"),
    "a column with one value": Fault(lambda _, __: {"land": "DE"}, "'land' has one value in all rows"),
    "an option of another kind": Fault(
        nothing,
        "has tokens; expected them only for text",
        refused=True,
        data={"inputs": [{"name": "calls", "tokens": "words"}]},
    ),
    "a window of rows in memory": Fault(
        nothing,
        "shuffle_buffer is for streamed rows",
        refused=True,
        data={"stream": False, "shuffle_buffer": 9},
    ),
}


def written(folder: Path, fault: Fault) -> dict[str, Any]:
    """The rows with the fault, and the experiment that reads them."""
    rows = [row | fault.plant(place, row) for place, row in enumerate(good_rows())]
    with (folder / "rows.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=fault.delimiter)
        table.writeheader()
        table.writerows(rows)
    data = {"source": str(folder / "rows.csv"), "target": "leaves", **fault.data}
    return {"name": "planted", "data": data, "model": {"family": "linear"}}


def told(folder: Path, fault: Fault) -> list[str]:
    experiment = validate(written(folder, fault), "here")
    inputs = PrepareInputs(data=experiment.data, loss=None)
    context: Any = SimpleNamespace(work=folder / "work")
    sentences: list[str] = _prepared(inputs, context).summary["warnings"]
    return sentences


def test_without_a_fault_nothing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, Fault(nothing, "")) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_told_or_refused(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    if fault.refused:
        with pytest.raises((ModelsError, PipelineError), match=fault.said):
            told(tmp_path, fault)
        return
    sentences = told(tmp_path, fault)
    assert any(re.search(fault.said, sentence) for sentence in sentences), sentences


def ended(folder: Path, document: dict[str, Any], steps: int) -> list[dict[str, Any]]:
    """The outputs of the first steps of a run: prepare, train, select, package."""
    home = Home(folder / "home")
    experiment = validate(document, "here").resolved(folder)
    plan = make_plan(experiment, gather(experiment, home))
    run = home.folder_of(plan.run)
    run.create()
    ears: Any = SimpleNamespace(
        **dict.fromkeys(("on_step", "on_retry", "on_notice", "on_poll"), lambda *_: None)
    )
    plan = replace(plan, steps=plan.steps[:steps])
    return list(run_plan(plan, make_executor("inline"), home.store, run, ears).values())


@pytest.mark.slow  # trains
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_shuffled_label_column_is_no_better_than_guessing(shuffled: bool, tmp_path: Path) -> None:
    labels = np.random.default_rng(1).permutation([row["leaves"] for row in good_rows()]).tolist()
    fault = Fault((lambda place, _: {"leaves": labels[place]}) if shuffled else nothing, "")
    document = written(tmp_path, fault) | {
        "training": {"epochs": 20, "optimizer": {"name": "adam", "learning_rate": 0.05}}
    }
    *_, selected = ended(tmp_path, document, 3)
    assert [reason.partition(":")[0] for reason in selected["refused"]] == [
        "no better than guessing"
    ] * shuffled


@pytest.mark.slow  # trains, and proves in processes of their own
def test_a_layer_that_is_exported_wrong_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_wrong(model: Any, saved: Path, path: Path, code: Any = None) -> None:
        export_saved(model, saved, path, code)
        exported = onnx.load(path)
        weights = exported.graph.initializer[0]
        changed = onnx.numpy_helper.to_array(weights).copy()
        changed.flat[0] += 0.05
        weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
        onnx.save(exported, path)

    monkeypatch.setattr("tidegate.models.export.onnx.export_saved", export_wrong)
    document = written(tmp_path, Fault(nothing, "")) | {"training": {"epochs": 2}, "gate": "none"}
    *_, packaged = ended(tmp_path, document, 4)
    assert packaged["runtime"] == "tensorflow" and "differs from the trained one" in packaged["reason"]


@pytest.mark.slow  # trains
@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"optimizer": {"name": "sgd", "learning_rate": 1e9}, "loss": "mse"}, "expected a finite number"),
        ({"class_weights": {"maybe": 2}}, "unknown class 'maybe'"),
        ({"metrics": ["acuracy"]}, "unknown metric 'acuracy'"),
    ],
)
def test_a_training_that_is_not_what_was_asked_is_refused(
    training: dict[str, Any], words: str, tmp_path: Path
) -> None:
    document = written(tmp_path, Fault(nothing, "")) | {"training": {"epochs": 30} | training}
    if "loss" in training:
        document["data"] |= {"target": "calls", "task": "regression"}
    with pytest.raises((PipelineError, ModelsError), match=words):
        ended(tmp_path, document, 2)
