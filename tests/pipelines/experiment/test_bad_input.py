"""What people get wrong, one line each: exit code, words, no traceback, and no run that stays running.

Exit code 2 is for what is found before a step runs, 1 for what a step finds.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli, Ran
from tidegate.pipelines.commands.runs.listing import runs
from tidegate.pipelines.state.home import Home

ROWS = "a,b,y\n" + "".join(f"{i / 40},{(i * 7 % 40) / 40},{'yes' if i % 3 else 'no'}\n" for i in range(40))
EXPERIMENT = """
name: bad-input
data: {source: ./rows.csv, target: y}
model: {family: linear}
training: {epochs: 1}
gate: none
"""
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
SUBMIT = ("submit", "experiment.yaml")
BUILD = "def build(inputs, outputs):\n"


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        words: what the last lines of stderr say, whatever the case of letters.
        set: overrides of the good experiment.
        files: written beside the experiment file; bytes as they are.
        command: words of the command line; {port}, {run} and so on are filled in, see conftest.py.
        code: the exit code.
        stdin: of the command.
        home: another one than the shared.
    """

    words: tuple[str, ...]
    set: tuple[str, ...] = ()
    files: dict[str, str | bytes] = field(default_factory=dict)
    command: tuple[str, ...] = SUBMIT
    code: int = 2
    stdin: str = ""
    home: str = ""


def wrong(*words: str, **more: object) -> Case:
    """A mistake in the experiment file: `key__below=value`, the value being YAML, overrides it."""
    sets = {key.replace("__", "."): "null" if value is None else value for key, value in more.items()}
    return Case(words, tuple(f"{key}={value}" for key, value in sets.items()))


def file(content: str | bytes, *words: str) -> Case:
    """A mistake that is the whole experiment file."""
    return Case(words, files={"experiment.yaml": content})


def data(name: str, content: str | bytes, *words: str, **more: object) -> Case:
    """A mistake in the data, found by prepare."""
    return replace(wrong(*words, **{"data__source": f"./{name}", **more}), files={name: content}, code=1)


def search(space: str, *words: str, method: str = "random") -> Case:
    """A mistake in the search."""
    return Case(words, (f"search={{method: {method}, trials: 2, space: {space}}}",))


def model(content: str | bytes, *words: str, code: int = 2) -> Case:
    """A mistake in the user's model file."""
    return Case(words, ("model={file: ./mine.py}",), {"mine.py": content}, code=code)


def command(line: str, *words: str, code: int = 2, stdin: str = "") -> Case:
    """A mistake on the command line."""
    return Case(words, command=tuple(line.split()), code=code, stdin=stdin)


def npz(**arrays: Any) -> bytes:
    """An .npz file's bytes; objects are pickled."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def picture() -> bytes:
    """An image file's bytes."""
    stream = io.BytesIO()
    Image.new("L", (8, 8), 7).save(stream, "png")
    return stream.getvalue()


PETS = {"data__source": "./pets", "data__target": "label"}
CASES = {
    "unknown key": wrong("trainig", 'did you mean "training"', trainig__epochs=1),
    "unknown key below": wrong("training.epoch", 'did you mean "epochs"', training__epoch=3),
    "wrong type": wrong(
        "training.epochs", "expected a whole number", "received str 'ten'", training__epochs="ten"
    ),
    "out of range": wrong("training.epochs", "a number of at least 1", "int 0", training__epochs=0),
    "target not named": file(
        "name: bad-input\ndata: {source: ./rows.csv}\nmodel: {family: mlp}\n",
        "target is missing",
        "target: label",
    ),
    "two origins of data": wrong("source", "dataset", "received both", data__dataset="digits"),
    "unknown dataset": wrong("data.dataset", "did you mean 'wine'", data__source=None, data__dataset="wines"),
    "name with a slash": wrong("name", "lower-case letters", "bad/input", name="bad/input"),
    "name too long": wrong("name", "at most 40", name="x" * 41),
    "endpoint name": wrong("serving.endpoint", "lower-case letters", "Bad", serving__endpoint="Bad"),
    "split over 1": wrong("validation 0.5 + test 0.6", "below 1", data__split="{validation: .5, test: .6}"),
    "no such file": command("submit experimnt.yaml", 'no experiment file "experimnt.yaml"', "tidegate init"),
    "no such example": command("submit digit", 'did you mean "digits"'),
    "a folder": replace(
        command("submit empty", "is a folder without experiment.yaml", "expected an experiment file"),
        files={"empty/notes.txt": "nothing"},
    ),
    "empty yaml": file("", "expected a mapping with name, data and model", "NoneType"),
    "a list": file("- name: x\n", "expected a mapping", "list"),
    "not yaml": file("name: [a\ndata: }", "not YAML", "line 2"),
    "key twice": file("name: x\nmodel: {}\nname: y\n", "line 3", "'name' is given a second time"),
    "binary": file(bytes(range(256)), "not YAML", "experiment.yaml"),
    "python tag": file("name: !!python/object/apply:os.getcwd []\n", "not YAML", "python/object"),
    "anchors bomb": file(BOMB, "aliases expand", "write the values out"),
    "anchors cycle": file("name: x\ndata: &d {source: *d}\n", "aliases", "write the values out"),
    "enormous": file("#" * 1_000_001, "1000001 bytes", "at most 1000000"),
    "set without =": Case(("--set training.epochs", "expected key=value"), ("training.epochs",)),
    "set below a scalar": Case(('"name" is str', 'could hold "x"'), ("name.x=1",)),
    "set not yaml": Case(("--set name=[", "not YAML"), ("name=[",)),
    "no data": wrong("rowz.csv", "does not exist", "did you mean 'rows.csv'", data__source="./rowz.csv"),
    "data elsewhere": wrong(
        "hdfs://", "gs://BUCKET", "copy the data here", data__source="hdfs://bucket/rows.csv"
    ),
    "unknown format": wrong("data.format", "did you mean 'csv'", data__format="cvs"),
    "data empty": data("e.csv", "", "e.csv", "is empty (0 bytes)", "expected rows"),
    "data without rows": data("h.csv", "a,b,y\n", "no rows", "expected at least one"),
    "data not utf-8": data("l.csv", ROWS.encode() + b"1,2,\x81\n", "not UTF-8 text", "save it as UTF-8"),
    "data binary": data("b.csv", b"\0\1\2" * 99, "not text", "data.format"),
    "data a folder": replace(
        wrong("not a Parquet file", "right data.format", data__source=".", data__format="parquet"), code=1
    ),
    "ragged": data("r.csv", ROWS + "1,2\n", "line 42", "2 cells", "expected 3"),
    "pickled npz": data("p.npz", npz(a=[1, 2], y=[{}, {}]), "pickled", "refused", "astype"),
    "not npz": data("n.npz", ROWS, "n.npz", "expected an .npz file", "numpy.savez"),
    "class folder without images": data(
        "pets/dog/notes.doc", "woof", "class folder", "dog has no images", "fill it or remove it", **PETS
    ),
    "torn image": data(
        "pets/dog/1.png", picture()[:40], "dog/1.png cannot be read", "replace or remove it", **PETS
    ),
    "broken jsonl": data("j.jsonl", '{"a": 1, "y": 0}\n{"a": \n', "line 2", "JSON"),
    "no such target": data("rows.csv", ROWS, "'z'", "the columns are: a, b, y", data__target="z"),
    "stream of a built-in": wrong(
        "data", "held in memory", data__source=None, data__dataset="digits", data__stream="true"
    ),
    "sample rate of a table": data(
        "r.csv", ROWS, "data.sample_rate is 8000", "only for recordings", data__sample_rate="8000"
    ),
    "no such shards": wrong("gone-*.csv matches no file", "shards/*.parquet", data__source="./gone-*.csv"),
    "shards unlike": replace(
        wrong(
            "2.csv has the column c",
            "no column b",
            "unlike 1.csv",
            data__source="./shards",
            data__stream="true",
        ),
        files={"shards/1.csv": ROWS, "shards/2.csv": ROWS.replace("b", "c", 1)},
        code=1,
    ),
    "not tfrecord": data(
        "t.tfrecord", ROWS, "record 1, at byte 0", "length whose checksum is wrong", "data.format"
    ),
    "folds of a stream": data(
        "f.csv", ROWS, "data.split.folds is 3", "streamed", data__stream="true", data__split="{folds: 3}"
    ),
    "one class": data("o.csv", ROWS.replace("no", "yes"), "only the class 'yes'", "at least two"),
    "no target left": data("t.csv", "a,y\n1,\n2,\n", "no value in any of 2 rows", "expected some"),
    "too few rows": data("f.csv", "a,y\n1,u\n2,v\n", "2 rows", "too few", "lower data.split"),
    "loss of another task": replace(
        wrong("'y'", "no numbers", "the target of a regression", training__loss="mse"), code=1
    ),
    "loss and task": wrong(
        "'mean_squared_error'", "classification", training__loss="mse", data__task="classification"
    ),
    "unknown loss": wrong("'huberr'", "'huber'", training__loss="huberr"),
    "unknown optimizer": wrong("'adamm'", "'adam'", training__optimizer="adamm"),
    "learning rate": wrong(
        "learning rate", "-1", "above 0", training__optimizer="{name: sgd, learning_rate: -1}"
    ),
    "optimizer's option": wrong(
        "'momentum' of optimizer 'adam'",
        "expected one of: ",
        training__optimizer="{name: adam, momentum: 0.9}",
    ),
    "unknown family": wrong("'mpl'", "did you mean 'mlp'", model__family="mpl"),
    "unknown option": wrong("'model.dropuot'", "did you mean 'dropout'", model__dropuot=0.1),
    "wrong option": wrong("'model.dropout'", "a number below 1", model__dropout=7),
    "unknown class": replace(
        wrong("'maybe'", "training.class_weights", "no, yes", training__class_weights="{maybe: 2}"), code=1
    ),
    "unknown calibration": wrong(
        "training.calibration", "'temperature'", "received str 'platt'", training__calibration="platt"
    ),
    "calibration of numbers": wrong(
        "training.calibration", "regression", training__calibration="temperature", data__task="regression"
    ),
    "calibration on no rows": wrong(
        "training.calibration",
        "data.split.validation is 0",
        training__calibration="temperature",
        data__split__validation=0,
    ),
    "smoothing of numbers": wrong(
        "training.label_smoothing",
        "mean_squared_error",
        training__label_smoothing=0.1,
        data__task="regression",
    ),
    "augmentation of nothing": wrong(
        "training.augmentation", "changes nothing; expected one of flip", training__augmentation="{}"
    ),
    "augmentation without images": replace(
        wrong("training.augmentation", "kind: image", training__augmentation="{flip: horizontal}"), code=1
    ),
    "unknown penalty": wrong(
        "training.regularization.l3: unknown key", "did you mean", training__regularization="{l3: 1}"
    ),
    "one fold": wrong("data.split.folds", "a number of at least 2", "int 1", data__split__folds=1),
    "more folds than rows": replace(
        wrong("data.split.folds is 25", "besides the test rows", "lower folds", data__split__folds=25), code=1
    ),
    "folds against the champion": wrong(
        "gate.improve_on_champion",
        "name a test_ metric",
        gate="{metric: folds_loss_mean, improve_on_champion: 0.1}",
        data__split__folds=2,
    ),
    "a gate in percent": wrong(
        "gate.minimum: received 90 for test_accuracy",
        "90 % is 0.9",
        gate="{metric: test_accuracy, minimum: 90}",
    ),
    "a gate of no folds": wrong("gate.metric", "set data.split.folds", gate="{metric: folds_loss_mean}"),
    "privacy by torch": wrong(
        "training.privacy", "expected tensorflow or jax", training__backend="torch", training__privacy="{}"
    ),
    "privacy on two nodes": wrong(
        "training.privacy",
        "set both to 1",
        training__backend="jax",
        training__privacy="{}",
        resources__nodes=2,
    ),
    "packed trials on two nodes": wrong(
        "search.pack is 4 and resources.nodes is 2",
        "leave search.pack out",
        training__backend="jax",
        training__batch_size=32,
        search="{method: random, trials: 4, pack: 4, space: {training.seed: {choices: [1, 2]}}}",
        resources__nodes=2,
    ),
    "a pack of nothing": wrong(
        "search.pack",
        search="{method: random, trials: 4, pack: 0, space: {training.seed: {choices: [1, 2]}}}",
    ),
    "folds on two nodes": wrong(
        "data.split.folds: 2",
        "set resources.nodes: 1",
        training__backend="jax",
        data__split__folds=2,
        resources__nodes=2,
    ),
    "privacy of a clip of 0": wrong("clip_norm", "a number above 0", training__privacy="{clip_norm: 0}"),
    "privacy and pretraining": wrong(
        "training.privacy",
        "'model.pretrain'",
        model="{family: transformer, pretrain: {}}",
        training__privacy="{}",
    ),
    "privacy and dropout": replace(
        wrong(
            "training.privacy",
            "leave out dropout",
            model="{family: mlp, dropout: 0.1}",
            training__privacy="{}",
        ),
        code=1,
    ),
    "explain what": wrong("training.explain", "expected a whole number", training__explain="image"),
    "explain too much": wrong("training.explain", "a number of at most 64", training__explain=1000),
    "explain by torch": wrong(
        "training.explain", "expected tensorflow or jax", training__backend="torch", training__explain=2
    ),
    "endpoint explains what": wrong(
        "serving.explain", "expected true or false", "received str 'image'", serving__explain="image"
    ),
    "endpoint explains texts": wrong(
        "serving.explain",
        "this model writes texts; leave it out",
        serving__explain="true",
        data__target="{name: y, kind: text}",
        model="{family: seq2seq}",
    ),
    "from no run": wrong('no run "nothing"', "tidegate runs", model="{family: linear, from: nothing}"),
    "from itself": wrong("model.from", "name a run", model="{family: linear, from: bad-input}"),
    "frozen of nothing": wrong("say which one: from: RUN", model="{family: linear, freeze: [dense]}"),
    "from other inputs": replace(
        wrong("model.from", "whose inputs are image", "features", model="{family: linear, from: {run}}"),
        code=1,
    ),
    "a gate of no privacy": wrong(
        "gate.metric", "set training.privacy", gate="{metric: epsilon, maximum: 3}"
    ),
    "unknown metric": wrong("test_acuracy", 'did you mean "test_accuracy"', gate="{metric: test_acuracy}"),
    "no gpu": replace(wrong("resources.gpus is 1", "sees 0 GPUs", "gpus: 0", resources__gpus=1), code=1),
    "search elsewhere": search("{data.target: [a]}", "data.target", "must begin with model. or training"),
    "search unknown": search("{training.epoch: [1]}", "training.epoch", 'did you mean "epochs"'),
    "search no step": search("{training.epochs: {low: 1, high: 9}}", "epochs", "num: 3", method="grid"),
    "search nothing": search("{}", "space is empty", "learning_rate"),
    "no model file": wrong("mine.py", "cannot be read", model="{file: ./mine.py}"),
    "model syntax": model(BUILD + "    x = (\n", "mine.py:2", "not Python"),
    "model without build": model("def biuld(): ...\n", "defines no build()", 'did you mean "biuld"'),
    "model raises": model(BUILD + "    return 1 / 0\n", "mine.py:2", "ZeroDivisionError", code=1),
    "model of another shape": model(
        "import keras\n" + BUILD + "    x = inputs['features']\n"
        "    return keras.Model(inputs, keras.layers.Dense(5)(x))\n",
        "mine.py:2",
        "output shape (None, 5)",
        "expected one output of shape (None, 2)",
        code=1,
    ),
    "port taken": wrong(
        "serving.port is {port}", "another process", "leave serving.port out", serving__port="{port}"
    ),
    "show unknown": command("show bad-inputt", 'no run "bad-inputt"', "tidegate runs"),
    "logs unknown": command("logs nothing", 'no run "nothing"'),
    "resume unknown": command("resume nothing", 'no run "nothing"'),
    "cancel unknown": command("cancel nothing", 'no run "nothing"'),
    "compare unknown": command("compare nothing other", 'no run "nothing"'),
    "compare one": command("compare one", 'no run "one"', "tidegate runs"),
    "serve unknown": command("serve nothing", 'no run "nothing"'),
    "predict unknown": command("predict nothing", 'no endpoint "nothing"', "tidegate endpoints"),
    "rollback unknown": command("rollback nothing", 'no endpoint "nothing"'),
    "delete unknown": command("delete nothing", 'no endpoint or run "nothing"'),
    "unknown target": command("runs --target moon", 'no target "moon"', "targets.yaml"),
    "unknown command": command("sumbit digits", "invalid choice: 'sumbit'", "submit"),
    "no experiment": command("plan", "needs FILE_OR_NAME", "tidegate plan digits"),
    "manifests here": command("plan experiment.yaml --manifests", "--manifests", "--target"),
    "init where one is": command("init .", "already has experiment.yaml", "empty folder"),
    "logs of no step": command("logs {run} trian", 'no step "trian"', " prepare-"),
    "cancel of a done run": command("cancel {run}", "is done", "only a queued, running or waiting one"),
    "near run": command("show {run}x", 'did you mean "{run}"'),
    "near endpoint": command("predict digit", 'did you mean "digits"'),
    "rollback to nothing": command("rollback {endpoint}", "no release before 1", "--to"),
    "rollback too far": command("rollback {endpoint} --to 99", "no release 99", "its releases are: 1"),
    "predict not rows": Case(
        ("words.json", "not JSON", "list of rows"),
        files={"words.json": "hello"},
        command=("predict", "{endpoint}", "--input", "words.json"),
    ),
    "predict no file": command("predict {endpoint} --input none.csv", "none.csv", "read as rows"),
    "predict nothing": command("predict {endpoint}", "stdin", "not JSON", "list of rows"),
    "predict a wrong row": command(
        "predict {endpoint}", "image", "row 0", "expected", code=1, stdin='[{"x": 1}]'
    ),
    "bundle changed": command("serve {bundle} --port {free}", "model.onnx", "has changed", code=1),
    "home below a file": Case(("cannot be written", "--home"), home="{here}/rows.csv/home"),
    "home is a file": Case(("cannot be written", "--home"), home="{here}/rows.csv"),
    "home not writable": Case(("cannot be written", "--home"), home="/proc/tidegate"),
    "disk full": Case(("disk is full", "free some space", "--home"), code=1, home="{disk}"),
    "mlflow damaged": Case(("mlflow.db", "damaged", "away"), command=("ui",), code=1, home="{damaged}"),
    "mlflow locked": Case(("mlflow.db", "locked", "close"), command=("ui",), code=1, home="{locked}"),
}
DEBUG = ("unknown key", "unknown family", "no such target", "predict unknown")


@dataclass(frozen=True)
class Places:
    """What {names} in a case stand for: fixtures, so that what costs time is made only where it is needed."""

    request: pytest.FixtureRequest

    def fill(self, text: str) -> str:
        return re.sub(
            r"\{([a-z]+)\}", lambda match: str(self.request.getfixturevalue(f"the_{match[1]}")), text
        )


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, shared: Cli, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    case, places = CASES[name], Places(request)
    for path, content in {"experiment.yaml": EXPERIMENT, "rows.csv": ROWS, **case.files}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    home = Path(places.fill(case.home)) if case.home else shared.home
    cli = replace(shared, home=home)
    line = [places.fill(word) for word in case.command]
    line += [part for word in case.set for part in ("--set", places.fill(word))]
    ran = cli(*line, "--json", cwd=tmp_path, stdin=case.stdin)
    _check(ran, case, [places.fill(word) for word in case.words])
    if home.is_dir():
        assert not [run for run in runs(Home(home)).data if run["status"] in ("running", "queued")]
    if name in DEBUG:
        told = cli(*line, "--debug", cwd=tmp_path, stdin=case.stdin)
        assert told.code == case.code
        assert "Traceback (most recent call last)" in told.stderr


def _check(ran: Ran, case: Case, words: list[str]) -> None:
    assert ran.code == case.code, ran.stderr
    assert "Traceback" not in ran.stderr
    told = "\n".join(ran.stderr.splitlines()[-3:]).lower()
    assert [word for word in words if word.lower() not in told] == [], ran.stderr
    assert not ran.stdout or json.loads(ran.stdout)
