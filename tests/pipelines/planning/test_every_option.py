"""Every option of an experiment is used: each one, changed by itself, changes what a step gets or does, or is refused.

The experiment as a whole, which steps get too, is never compared, but what follows from it: the prepared data, inputs
of steps that are single options, Kubernetes objects, the gate's decision, decoded texts and boxes. A new option needs
a line in CHANGED, or in EXEMPT with a reason. `training` is in tests/models/training/test_every_option.py.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.models.preprocessing.test_texts import ANSWERS, LEADS, ROWS, model
from tests.options import leaves
from tests.pipelines.walks.test_golden import FACTS, STATES, TARGETS
from tidegate.models.decoding.detections import detect
from tidegate.models.decoding.settings import Detection
from tidegate.models.decoding.texts import decode
from tidegate.models.errors import ModelsError
from tidegate.models.preprocessing.target.box_target import BoxTarget
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.executors.manifests import jobs_of
from tidegate.pipelines.experiment.gate import Compared, criteria_for, reasons_against
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.hosting.judge import judge
from tidegate.pipelines.hosting.kubernetes import KubernetesHosting
from tidegate.pipelines.hosting.manifests import endpoint_objects_of
from tidegate.pipelines.hosting.metrics import Counts
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.planning.suggestions import limits_of
from tidegate.pipelines.recordings.agreement import agreements
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Target
from tidegate.pipelines.step_types.prepare import PrepareInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.prepare import _prepared
from tidegate.serving.contract.contract import Contract, Input
from tidegate.serving.recording.cipher import Cipher
from tidegate.serving.recording.counted import Counted
from tidegate.serving.recording.day_count import DayCount
from tidegate.serving.recording.recorder import Recorder
from tidegate.serving.recording.segment_writer import SegmentWriter
from tidegate.serving.recording.segments import names_in, new_name

EXEMPT = {
    "description": "a note for people, shown by MLflow",
    "code.path": "the project's folder: tests/pipelines/own_code",
    "code.env": "as above",
    "code.requirements": "as above",
    "code.secrets": "as above",
    "notify.to": "whom a message reaches: tests/pipelines/driver/test_notifications.py",
    "notify.on": "as above",
    "gate[Approval].approval": "whom a run waits for: tests/pipelines/walks/test_approval.py",
    "gate[Approval].by": "as above",
    "schedule.cron": "when a run starts: tests/pipelines/scheduling/test_times.py",
    "schedule.timezone": "as above",
    "schedule.jitter": "as above",
    "schedule.catch_up": "as above",
    "schedule.overlap": "as above",
    "trigger.new_data": "what a run starts for: tests/pipelines/scheduling/test_triggers.py",
    "trigger.drift": "as above",
    "trigger.for": "as above",
    "trigger.model": "as above",
    "model.trained": "a model of others: tests/pipelines/walks/test_release.py",
    "model.answers": "as above",
    "model.classes": "its outputs: tests/models/imported",
    "model.weights": "a file for build(): tests/zoo/own",
    "model.from": "a run's weights: tests/models/networks",
    "data.load": "a function of the project: tests/pipelines/own_code/test_bad_load.py, tests/models/readers",
    "data.options": "as above",
    "data.transform": "as above: tests/models/preprocessing/own_transform",
    "data.sample_rate": "of recordings: tests/models/readers",
    "gate[Criterion].confidence": "needs a champion's bundle: tests/models/evaluation, tests/pipelines/walks",
    "resources.patience": "how long a pod may wait: tests/cluster",
    "serving.keep": "which releases stay: tests/pipelines/walks/test_rollback.py, tests/serving/deployment",
    "serving.port": "this machine's ports: tests/pipelines/experiment/test_bad_input.py",
}
HEAD = "num,ids,city,day,note,y,z"
CITIES, WORDS = ("Ulm", "Bonn", "Köln", "Ulm"), ("good", "bad", "fine", "odd")


def row(at: int) -> str:
    number = "" if at % 9 == 4 else f"{1 + at * at % 23}.5"
    day, note = f"0{1 + at % 9}/0{1 + at % 7}/2024", f"a {WORDS[at % 4]} {WORDS[at % 3]} one"
    return f"{number},{at % 5},{CITIES[at // 2 % 4]},{day},{note},{'yes' if at % 3 else 'no'},{at / 4}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("options")
    for name, rows in (("rows.csv", 60), ("more.csv", 70)):
        (path / name).write_text("\n".join([HEAD, *map(row, range(rows))]) + "\n")
    (path / "large.csv").write_text((path / "rows.csv").read_text().replace(".5", ".500"))
    masks = np.arange(60 * 4, dtype=np.uint8).reshape(60, 2, 2) % 3
    np.savez(path / "masks.npz", x=np.arange(60.0), mask=masks)
    (path / "quoted.csv").write_text((path / "rows.csv").read_text().replace("Ulm", '"Ulm"'))
    return path


def prepared(experiment: Experiment, folder: Path) -> Any:
    """The contract, the transforms and the splits of the data."""
    inputs = PrepareInputs(data=experiment.data, loss=experiment.training.loss)
    home = Home(folder / "home")
    context = StepContext(home, home.folder_of("options"), "prepare", "", folder / "work")
    found = _prepared(inputs, context)
    return found.schema.model_dump(), found.transforms.to_dict(), found.fingerprint


def planned(experiment: Experiment, _: Path) -> Any:
    """What single steps get: without whole parts of the experiment, and without ids."""
    search = experiment.search
    facts = FACTS if search is None else FACTS.__class__(**{**vars(FACTS), "trials": search.trials or 4})
    whole = {"content", "data", "training", "serving", "gate", "run", "tags", "versions"}
    steps = make_plan(experiment, facts).steps
    return [(step.step, len(step.after), _plain(dict(step.inputs), whole)) for step in steps]


def _plain(inputs: dict[str, Any], whole: set[str]) -> str:
    kept = {name: value for name, value in inputs.items() if name not in whole}
    return str({name: len(value) if name == "trials" else value for name, value in kept.items()}).replace(
        "-", ""
    )


def kubernetes(experiment: Experiment, folder: Path) -> Any:
    """The objects of a run and of its endpoint, and how a release is rolled out."""
    target, plan = Target.model_validate(TARGETS["full"]), make_plan(experiment, FACTS)
    objects = [*jobs_of(target, plan), *endpoint_objects_of(target, plan, STATES["plain"])]
    home = Home(folder / "cluster", target)
    return objects, KubernetesHosting(home).describe(experiment.serving)


def gated(experiment: Experiment, _: Path) -> Any:
    """Why the gate refuses."""
    metrics = {"test_accuracy": 0.7, "test_f1": 0.6}
    champion = {"test_accuracy": Compared("test_accuracy", 0.7, 0.69, 100)}
    return reasons_against(criteria_for(experiment.gate, "classification"), metrics, champion)


def judged(experiment: Experiment, _: Path) -> Any:
    return judge(Counts(), Counts(), experiment.serving.slo).figures


def limited(experiment: Experiment, _: Path) -> Any:
    """The limits of a trial after four others."""
    assert experiment.search and experiment.search.pruning
    known = [
        {"curve": [0.1 * trial + 1 / (epoch + 1) for epoch in range(9)], "pruned": False}
        for trial in range(4)
    ]
    return limits_of(experiment.search.pruning, known, 10, higher=False)


def recorded(experiment: Experiment, folder: Path) -> Any:
    """What is kept of forty requests, whether a segment of three days ago is, and which answers agree."""
    record, place = experiment.serving.record, folder / "recorded"
    assert record is not None
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    old = new_name(time.time() - 3 * 86_400)
    (place / old).touch()
    inputs = [
        Input(name=name, kind="numeric", dtype="float64", missing="null is refused") for name in ("a", "b")
    ]
    contract = Contract(task="regression", inputs=tuple(inputs), target=("y",))
    cipher, counted = Cipher(bytes(32)), Counted("options", 1)
    writer = SegmentWriter(place, cipher, record.seconds, counted)
    recorder = Recorder(record, contract, 1, DayCount(record.rows_a_day, 0, 0.0), writer, counted)
    for _ in range(40):
        if recorder.chosen():
            recorder.put(b"id", {"a": np.ones(1), "b": np.ones(1)}, np.ones((1, 1), np.float32))
    recorder.start()
    recorder.stop()
    names = [name for name in names_in(place) if name != old]
    rows = [row for name in names for row in cipher.open(place, name, (place / name).read_bytes())]
    agreed = agreements(contract.target_, [1.0, 2.0], [1.0, 2.1], record.tolerance)
    return len(rows), [*json.loads(rows[0])["row"]] if rows else [], (place / old).exists(), agreed


def texts(experiment: Experiment, _: Path) -> Any:
    assert experiment.serving.decoding is not None
    return decode(model, ANSWERS, ROWS, LEADS, experiment.serving.decoding)


def boxes(experiment: Experiment, _: Path) -> Any:
    assert isinstance(experiment.serving.detection, Detection)
    grids = [{"stride": 16, "shapes": [[12, 12], [20, 16]]}]
    target = BoxTarget("boxes", ["a", "b"], (32, 32), grids)
    answered = np.random.default_rng(0).normal(size=(2, len(target.defaults), 7))
    return detect(answered, target, experiment.serving.detection, np.array([[32, 32]] * 2)).tolist()


Probe = Callable[[Experiment, Path], Any]


class Change(NamedTuple):
    """An experiment's part before and after, by dotted key, and where the difference must be seen."""

    probe: Probe
    before: dict[str, Any]
    after: dict[str, Any]


def data(after: Any, before: Any = None) -> Change:
    before = {"inputs": ["num", "city"], **(before or {})}
    return Change(prepared, {"data": before}, {"data": {**before, **after}})


def column(name: str, probe_after: dict[str, Any], **before: Any) -> Change:
    first = {"name": name, **before}
    return data({"inputs": [{**first, **probe_after}]}, {"inputs": [first]})


def target(after: dict[str, Any], **before: Any) -> Change:
    first = {"name": "note", "kind": "text", **before}
    return data({"target": [{**first, **after}]}, {"target": [first], "inputs": ["city"]})


def mask(after: dict[str, Any]) -> Change:
    first = {"name": "mask", "kind": "mask"}
    return data({"target": [{**first, **after}]}, {"source": "masks.npz", "target": [first], "inputs": ["x"]})


def forecast(after: dict[str, Any]) -> Change:
    first = {"past": 4, "horizon": 2}
    return data({"forecast": {**first, **after}}, {"forecast": first, "target": "z", "inputs": ["ids"]})


def csv(**after: Any) -> Change:
    return data({"csv": after})


def part(probe: Probe, name: str, after: Any, before: Any = None) -> Change:
    return Change(probe, {} if before is None else {name: before}, {name: {**(before or {}), **after}})


SEARCH = {"method": "random", "trials": 4, "space": {"model.hidden": {"choices": [[8], [9]]}}}
GPUS = {"gpus": 1, "nodes": 2}
CANARY, SLO = {"steps": [50, 100]}, {"p99_ms": 500, "error_rate": 0.5}
BEAM, SAMPLE = {"method": "beam", "width": 8}, {"method": "sample", "seed": 1}
FOUND = {"score": 0.1, "iou": 0.3}
RATE = {"requests": 5}
RATE_OF_ALICE = {"requests": 5, "callers": {"alice": {"requests": 9, "per": "1h"}}}
JWT = {"issuer": "https://a.example/", "audience": "digits", "jwks": "https://a.example/keys"}


def pruned(**pruning: Any) -> dict[str, Any]:
    return {"search": {**SEARCH, "pruning": pruning}}


def serving(probe: Probe, name: str, after: Any, before: Any, **beside: Any) -> Change:
    return Change(
        probe, {"serving": {**beside, name: before}}, {"serving": {**beside, name: {**before, **after}}}
    )


CHANGED: dict[str, Change] = {
    "name": Change(kubernetes, {}, {"name": "other"}),
    "notify.secret": Change(
        kubernetes, {"notify": {"to": "slack", "secret": "one"}}, {"notify": {"to": "slack", "secret": "two"}}
    ),
    "data.source": data({"source": "more.csv"}),
    "data.dataset": Change(prepared, {"data": {"dataset": "wine"}}, {"data": {"dataset": "diabetes"}}),
    "data.format": data({"format": "jsonl"}),
    "data.inputs.name": column("num", {"name": "ids"}),
    "data.inputs.kind": column("ids", {"kind": "categorical"}),
    "data.inputs.scale": column("num", {"scale": "minmax"}),
    "data.inputs.limit": column("city", {"limit": 2}, kind="categorical"),
    "data.inputs.other": column("city", {"other": False}, kind="categorical", limit=2),
    "data.inputs.unknown": column("ids", {"unknown": 3}, kind="id"),
    "data.inputs.format": column("day", {"format": "day_first"}, kind="date", format="month_first"),
    "data.inputs.encode": column("day", {"encode": ["weekday"]}, kind="date", format="day_first"),
    "data.inputs.missing": column("num", {"missing": "own"}),
    "data.inputs.tokens": column("note", {"tokens": "characters"}, kind="text"),
    "data.inputs.length": column("note", {"length": 2}, kind="text"),
    "data.inputs.vocabulary": column("note", {"vocabulary": 3}, kind="text"),
    "data.inputs.hashed": column("ids", {"hashed": 3}, kind="id"),
    "data.missing": data({"missing": "zero"}, {"inputs": ["num"]}),
    "data.target.name": target({"name": "day"}),
    "data.target.kind": target({"kind": None}),
    "data.target.task": data(
        {"target": [{"name": "ids", "task": "regression"}, "y"]},
        {"target": [{"name": "ids"}, "y"], "inputs": ["city"]},
    ),
    "data.target.classes": mask({"classes": ["a", "b", "c"]}),
    "data.target.ignore": mask({"ignore": 2}),
    "data.target.tokens": target({"tokens": "words"}),
    "data.target.length": target({"length": 3}),
    "data.target.vocabulary": target({"vocabulary": 4}),
    "data.task": data({"task": "regression"}, {"target": "ids"}),
    "data.tile": data({"tile": 64}),
    "data.forecast.past": forecast({"past": 5}),
    "data.forecast.horizon": forecast({"horizon": 3}),
    "data.forecast.known": forecast({"known": ["ids"]}),
    "data.forecast.quantiles": forecast({"quantiles": [0.2, 0.5]}),
    "data.forecast.season": forecast({"season": 2}),
    "data.forecast.every": forecast({"every": 2}),
    "data.anomaly.label": data(
        {"anomaly": {"label": "y"}}, {"anomaly": {}, "target": None, "inputs": ["ids", "z"]}
    ),
    "data.anomaly.alarms": data(
        {"anomaly": {"alarms": 0.2}}, {"anomaly": {}, "target": None, "inputs": ["ids", "z"]}
    ),
    "data.csv.delimiter": csv(delimiter=";"),
    "data.csv.decimal": csv(decimal=","),
    "data.csv.thousands": data({"csv": {"thousands": "."}}, {"source": "large.csv"}),
    "data.csv.quote": data({"csv": {"quote": ""}}, {"source": "quoted.csv"}),
    "data.csv.encoding": csv(encoding="cp1250"),
    "data.csv.missing": csv(missing=["Ulm"]),
    "data.split.validation": data({"split": {"validation": 0.3}}),
    "data.split.test": data({"split": {"test": 0.3}}),
    "data.split.seed": data({"split": {"seed": 8}}),
    "data.split.time": data({"split": {"time": "z"}}),
    "data.split.group": data({"split": {"group": "ids"}}),
    "data.split.column": data({"split": {"column": "city"}}),
    "data.test": data({"test": "more.csv"}),
    "data.validation": data({"validation": "more.csv"}),
    "data.weight": data({"weight": "z"}),
    "data.sample_weight": data({"sample_weight": "z"}),
    "data.split.folds": data({"split": {"folds": 25}}),
    "data.stream": Change(planned, {}, {"data": {"stream": True}}),
    "data.shuffle_buffer": Change(planned, {}, {"data": {"shuffle_buffer": 7}}),
    "model.family": Change(planned, {}, {"model": {"family": "mlp"}}),
    "model.file": Change(planned, {}, {"model": {"file": "./m.py", "family": None}}),
    "model.function": Change(planned, {}, {"model": {"function": "m:build", "family": None}}),
    "model.freeze": Change(planned, {}, {"model": {"freeze": ["dense"]}}),
    "search.method": part(planned, "search", {"method": "tpe"}, SEARCH),
    "search.trials": part(planned, "search", {"trials": 3}, SEARCH),
    "search.parallelism": part(planned, "search", {"parallelism": 3}, {**SEARCH, "method": "tpe"}),
    "search.pack": part(kubernetes, "search", {"pack": 2}, SEARCH),
    "search.seed": part(planned, "search", {"seed": 3}, SEARCH),
    "search.space": part(planned, "search", {"space": {"model.hidden": {"choices": [[7], [9]]}}}, SEARCH),
    "search.pruning.rule": Change(limited, pruned(), pruned(rule="asha")),
    "search.pruning.warmup_epochs": Change(limited, pruned(), pruned(warmup_epochs=0)),
    "search.pruning.minimum_trials": Change(limited, pruned(), pruned(minimum_trials=5)),
    "search.pruning.min_epochs": Change(limited, pruned(rule="asha"), pruned(rule="asha", min_epochs=2)),
    "search.pruning.reduction_factor": Change(
        limited, pruned(rule="asha"), pruned(rule="asha", reduction_factor=3)
    ),
    "gate[Criterion].metric": part(
        gated, "gate", {"metric": "test_f1"}, {"metric": "test_accuracy", "minimum": 0.8}
    ),
    "gate[Criterion].minimum": part(gated, "gate", {"minimum": 0.8}, {"metric": "test_accuracy"}),
    "gate[Criterion].maximum": part(gated, "gate", {"maximum": 0.1}, {"metric": "test_accuracy"}),
    "gate[Criterion].improve_on_champion": part(
        gated, "gate", {"improve_on_champion": 0.1}, {"metric": "test_accuracy"}
    ),
    "resources.cpu": part(kubernetes, "resources", {"cpu": 7}),
    "resources.memory": part(kubernetes, "resources", {"memory": "7Gi"}),
    "resources.gpus": part(kubernetes, "resources", {"gpus": 1}),
    "resources.nodes": part(kubernetes, "resources", {"nodes": 1}, GPUS),
    "resources.member_timeout": part(planned, "resources", {"member_timeout": "3m"}, GPUS),
    "resources.gpu_resource": part(kubernetes, "resources", {"gpu_resource": "amd.com/gpu"}, GPUS),
    "resources.node_selector": part(kubernetes, "resources", {"node_selector": {"zone": "a"}}),
    "resources.tolerations": part(kubernetes, "resources", {"tolerations": [{"operator": "Exists"}]}),
    "resources.priority_class": part(kubernetes, "resources", {"priority_class": "high"}),
    "resources.queue": part(kubernetes, "resources", {"queue": "team"}),
    "resources.deadline": part(kubernetes, "resources", {"deadline": "1h"}),
    "serving.endpoint": part(kubernetes, "serving", {"endpoint": "other"}),
    "serving.runtime": part(kubernetes, "serving", {"runtime": "tensorflow"}),
    "serving.processes": part(kubernetes, "serving", {"processes": 2}),
    "serving.replicas.min": part(kubernetes, "serving", {"replicas": {"min": 2}}),
    "serving.replicas.max": part(kubernetes, "serving", {"replicas": {"max": 3}}),
    "serving.canary.steps": serving(kubernetes, "canary", {"steps": [20, 100]}, CANARY),
    "serving.canary.bake": serving(kubernetes, "canary", {"bake": "9m"}, CANARY),
    "serving.decoding.method": serving(texts, "decoding", {"method": "greedy"}, BEAM),
    "serving.decoding.max_length": serving(texts, "decoding", {"max_length": 1}, BEAM),
    "serving.decoding.width": serving(texts, "decoding", {"width": 1}, {**BEAM, "length_penalty": 3.0}),
    "serving.decoding.length_penalty": serving(texts, "decoding", {"length_penalty": 3.0}, BEAM),
    "serving.decoding.temperature": serving(texts, "decoding", {"temperature": 9.0}, SAMPLE),
    "serving.decoding.top_k": serving(texts, "decoding", {"top_k": 1}, SAMPLE),
    "serving.decoding.seed": serving(texts, "decoding", {"seed": 2}, SAMPLE),
    "serving.detection.score": serving(boxes, "detection", {"score": 0.4}, FOUND),
    "serving.detection.iou": serving(boxes, "detection", {"iou": 0.9}, FOUND),
    "serving.detection.vote": serving(boxes, "detection", {"vote": 0.1}, FOUND),
    "serving.detection.max_boxes": serving(boxes, "detection", {"max_boxes": 1}, FOUND),
    "serving.keys": part(kubernetes, "serving", {"keys": "askers"}),
    "serving.jwt.issuer": serving(kubernetes, "jwt", {"issuer": "https://other.example/"}, JWT),
    "serving.jwt.audience": serving(kubernetes, "jwt", {"audience": ["other"]}, JWT),
    "serving.jwt.jwks": serving(kubernetes, "jwt", {"jwks": "login"}, JWT),
    "serving.jwt.scope": serving(kubernetes, "jwt", {"scope": "predict"}, JWT),
    "serving.jwt.claims": serving(kubernetes, "jwt", {"claims": {"team": "ml"}}, JWT),
    "serving.jwt.algorithms": serving(kubernetes, "jwt", {"algorithms": ["EdDSA"]}, JWT),
    "serving.jwt.leeway": serving(kubernetes, "jwt", {"leeway": "5s"}, JWT),
    "serving.rate_limit.requests": serving(kubernetes, "rate_limit", {"requests": 7}, RATE, keys="askers"),
    "serving.rate_limit.per": serving(kubernetes, "rate_limit", {"per": "1h"}, RATE, keys="askers"),
    "serving.rate_limit.callers.requests": serving(
        kubernetes, "rate_limit", {"callers": {"alice": {"requests": 8}}}, RATE_OF_ALICE, keys="askers"
    ),
    "serving.rate_limit.callers.per": serving(
        kubernetes,
        "rate_limit",
        {"callers": {"alice": {"requests": 9, "per": "2h"}}},
        RATE_OF_ALICE,
        keys="askers",
    ),
    "serving.record.share": serving(recorded, "record", {"share": 0.001}, {"share": 1}),
    "serving.record.rows_a_day": serving(recorded, "record", {"rows_a_day": 7}, {"share": 1}),
    "serving.record.keep": serving(recorded, "record", {"keep": "2d"}, {"share": 1}),
    "serving.record.drop": serving(recorded, "record", {"drop": ["b"]}, {"share": 1}),
    "serving.record.tolerance": serving(recorded, "record", {"tolerance": 0.5}, {"share": 1}),
    "serving.explain": part(planned, "serving", {"explain": True}),
    "serving.slo.p99_ms": serving(judged, "slo", {"p99_ms": 900}, SLO),
    "serving.slo.error_rate": serving(judged, "slo", {"error_rate": 0.6}, SLO),
    "serving.resources.cpu": part(kubernetes, "serving", {"resources": {"cpu": 3}}),
    "serving.resources.memory": part(kubernetes, "serving", {"resources": {"memory": "3Gi"}}),
}
GOOD: dict[str, Any] = {"name": "options", "model": {"family": "linear"}, "training": {"backend": "jax"}}


def result(probe: Probe, changed: dict[str, Any], folder: Path) -> Any:
    """What the probe sees; a refusal is a result too."""
    document = GOOD | changed
    document["model"] = GOOD["model"] | changed.get("model", {})
    given = changed.get("data", {})
    if "dataset" not in given:
        document["data"] = {"source": "rows.csv", "target": "y"} | given
    try:
        return probe(validate(document, "here").resolved(folder), folder)
    except (PipelineError, ModelsError) as error:
        return f"refused: {error}"


def test_every_option_is_here() -> None:
    known = [name for name in leaves(Experiment) if not name.startswith("training.")]
    assert sorted([*CHANGED, *EXEMPT]) == sorted(dict.fromkeys(known))


@pytest.mark.parametrize("option", CHANGED)
def test_it_changes_something(option: str, folder: Path) -> None:
    change = CHANGED[option]
    before = result(change.probe, change.before, folder)
    assert not str(before).startswith("refused"), before
    assert before != result(change.probe, change.after, folder)
