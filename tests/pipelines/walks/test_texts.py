"""From a table of texts to an endpoint that writes them, and what is refused before a step runs."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

EXPERIMENT = """
name: backwards
data:
  source: pairs.csv
  inputs: [{name: word, kind: text, tokens: characters}]
  target: {name: backwards, kind: text, tokens: words}
model: {family: seq2seq, units: 24, embedding: 8}
training: {epochs: 4, batch_size: 16, optimizer: {name: adam, learning_rate: 0.02}}
gate: {metric: test_error_rate, maximum: 0.9}
serving: {decoding: {method: beam, width: 3}}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Words of five letters, and each of them backwards."""
    choice = random.Random(3)
    with (tmp_path / "pairs.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["word", "backwards"])
        for _ in range(300):
            word = "".join(choice.choices("abcde", k=choice.randint(1, 5)))
            table.writerow([word, " ".join(reversed(word)).upper()])
    path = tmp_path / "backwards.yaml"
    path.write_text(EXPERIMENT)
    return path


def asked(cli: Cli, *args: str, rows: list[Any]) -> list[dict[str, Any]]:
    return list(cli.ok("predict", "backwards", *args, stdin=json.dumps(rows))["predictions"])


def test_a_text_goes_the_whole_way(shared: Cli, experiment: Path) -> None:
    answer = shared.ok("submit", str(experiment))
    assert answer["status"] == "done" and answer["runtime"] == "onnx" and answer["parity"] < 1e-4
    figures = {"loss", "perplexity", "accuracy", "error_rate"}
    assert set(answer["metrics"]) == {
        f"{split}_{name}" for split in ("validation", "test") for name in figures
    }
    assert answer["metrics"]["test_perplexity"] < 5  # of 7 tokens
    rows = ["abc", "", "zzz"]
    online = asked(shared, rows=rows)
    offline = asked(shared, "--offline", rows=rows)
    assert [text["text"] for text in online] == [text["text"] for text in offline]
    assert all(set(text["text"].split()) <= set("ABCDE") for text in online)
    output = experiment.with_name("out.csv")
    source = experiment.with_name("pairs.csv")
    assert shared.ok("predict", "backwards", "--input", str(source), "--output", str(output))["rows"] == 300
    with output.open() as stream:
        table = list(csv.DictReader(stream))
    assert (
        list(table[0]) == ["row", "backwards", "log_probability"] and float(table[0]["log_probability"]) < 0
    )


def test_a_transformer_goes_on_with_a_text_and_reads_each_token_once(cli: Cli, experiment: Path) -> None:
    document = """
name: backwards
data: {source: ./texts.csv, target: {name: text, kind: text, tokens: subwords, length: 9, vocabulary: 20}}
model: {family: gpt, width: 16, layers: 1, heads: 2}
training: {epochs: 3, batch_size: 16, optimizer: {name: adam, learning_rate: 0.02}}
gate: {metric: test_perplexity_per_character, maximum: 9}
serving: {decoding: {method: sample, seed: 3, max_length: 12}}
"""
    with experiment.with_name("pairs.csv").open() as stream:
        texts = [row["backwards"] for row in csv.DictReader(stream)]
    experiment.with_name("texts.csv").write_text("\n".join(["text", *texts]) + "\n")
    path = experiment.with_name("written.yaml")
    path.write_text(document)
    answer = cli.ok("submit", str(path))
    assert answer["status"] == "done" and answer["runtime"] == "onnx" and answer["parity"] < 1e-4
    assert answer["metrics"]["test_perplexity_per_character"] < answer["metrics"]["test_perplexity"]
    assert "reads each token of a text once, within " in cli("logs", answer["run"], "package").stdout
    rows = ["A B", "", "zzz"]
    online, offline = asked(cli, rows=rows), asked(cli, "--offline", rows=rows)
    assert [text["text"] for text in online] == [text["text"] for text in offline]


def test_a_text_without_a_gate_is_released(shared: Cli, experiment: Path) -> None:
    lines = [line for line in EXPERIMENT.splitlines() if not line.startswith("gate:")]
    experiment.write_text("\n".join(lines))
    own = ("--set", "serving.endpoint=ungated")  # it has no champion to beat
    assert shared.ok("submit", str(experiment), "--set", "training.epochs=1", *own)["status"] == "done"


@pytest.mark.slow
def test_a_worse_one_is_held_against_the_champion_s_own_texts(cli: Cli, experiment: Path) -> None:
    champion = cli.ok("submit", str(experiment))["metrics"]["test_error_rate"]
    worse = cli("submit", str(experiment), "--json", "--set", "training.optimizer.learning_rate=0.0001")
    assert worse.code == 3, worse.stderr
    assert f" against {champion:.4g} of the champion on " in worse.json["reason"]
    assert cli.ok("endpoints")[0]["release"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.task=regression", "target backwards is a text, and task is regression"),
        (
            "model={family: mlp}",
            "family 'mlp' does not support a generation; expected one of: wavenet, char_lm, gpt, seq2seq",
        ),
        ("serving.decoding.method=magic", "serving.decoding.method"),
        ("serving.decoding.with=3", "serving.decoding.with: unknown key"),
        ("training.loss=mean_squared_error", "does not fit a generation"),
        ("gate.metric=test_rmse", 'no run has a metric "test_rmse"'),
        ("data.target.token=words", "data.target"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_step_runs(
    cli: Cli, experiment: Path, change: str, said: str
) -> None:
    ran = cli("plan", str(experiment), "--set", change)
    assert ran.code == 2 and said in ran.stderr


@pytest.mark.parametrize(
    "change", ["training.calibration=temperature", "data.split.folds=2", "training.explain=2"]
)
def test_what_is_made_for_one_answer_a_row_is_refused(shared: Cli, experiment: Path, change: str) -> None:
    ran = shared("submit", str(experiment), "--set", change)
    assert ran.code == 1
    assert f"Option '{change.partition('=')[0]}' is set, and the target is a text" in ran.stderr
