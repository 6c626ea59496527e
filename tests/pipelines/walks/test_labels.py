"""Sets of labels whose thresholds are chosen on validation rows: from the file to each dialect of the endpoint."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Cli
from tests.pipelines.walks.asking import asked

EXPERIMENT = """
name: tags
data:
  source: tags.jsonl
  target: tags
  split: {validation: 0.3, test: 0.2}
model: {family: linear}
training: {epochs: 8, batch_size: 64, thresholds: validation, optimizer: {name: adam, learning_rate: 0.03}}
gate: {metric: test_f1_micro, minimum: 0.6}
"""


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels of which each row has few; a model that has learned little is as sure too early or too late."""
    folder, random = tmp_path_factory.mktemp("tags"), np.random.default_rng(3)
    numbers = random.normal(size=(600, 3))
    sets = [[name for name, value in zip("abc", row, strict=True) if value > 1.2] for row in numbers]
    lines = [
        json.dumps({"x": row[0], "y": row[1], "z": row[2], "tags": some})
        for row, some in zip(numbers.tolist(), sets, strict=True)
    ]
    (folder / "tags.jsonl").write_text("\n".join(lines) + "\n")
    path = folder / "tags.yaml"
    path.write_text(EXPERIMENT)
    return path


def test_the_thresholds_of_validation_rows_are_those_of_every_dialect(cli: Cli, tags: Path) -> None:
    usual = cli.ok("submit", str(tags), "--set", "training.thresholds=null", "--set", "gate=none")
    answer = cli.ok("submit", str(tags))
    metrics = answer["metrics"]
    assert metrics["validation_f1_micro"] > usual["metrics"]["validation_f1_micro"] + 0.05
    assert metrics["test_f1_micro"] > usual["metrics"]["test_f1_micro"]
    assert metrics["test_auc"] == usual["metrics"]["test_auc"]  # the network is the same
    url = answer["endpoint"]
    contract = asked(f"{url}/contract")
    limits = contract["thresholds"]
    assert "threshold" not in contract and set(limits) == set("abc") and set(limits.values()) != {0.5}
    rows = [{"x": x, "y": 0.6, "z": -1.0} for x in np.linspace(-1, 2.5, 36).tolist()]
    found = asked(f"{url}/predict", {"rows": rows})["predictions"]
    for one in found:
        given = one["probabilities"]
        assert one["labels"] == [name for name in given if given[name] >= limits[name]]
    assert any(
        one["labels"] != [name for name, p in one["probabilities"].items() if p >= 0.5] for one in found
    )
    flags = [[name in one["labels"] for name in "abc"] for one in found]
    served = asked(f"{url}/v1/models/tags:predict", {"instances": rows})["predictions"]
    assert [one["answered"] for one in served] == flags
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [36], "data": [row[name] for row in rows]}
        for name in "xyz"
    ]
    probabilities, answered = asked(f"{url}/v2/models/tags/infer", {"inputs": inputs})["outputs"]
    assert (answered["name"], answered["datatype"], answered["shape"]) == ("answered", "BOOL", [36, 3])
    assert np.reshape(answered["data"], (36, 3)).tolist() == flags
    assert probabilities["shape"] == [36, 3]
    offline = cli.ok("predict", "tags", "--offline", stdin=json.dumps(rows))["predictions"]
    assert [one["labels"] for one in offline] == [one["labels"] for one in found]


def test_thresholds_need_sets_of_labels_and_validation_rows(cli: Cli, tags: Path) -> None:
    ran = cli(
        "plan",
        str(tags),
        "--set",
        "data.split.validation=0",
        "--set",
        "data.target={name: tags, kind: labels}",
    )
    assert ran.code == 2 and "expected validation rows, on which they are chosen" in ran.stderr
    ran = cli("plan", str(tags), "--set", "data.task=regression", "--set", "gate=none")
    assert ran.code == 2 and "is for sets of labels, and this is a regression" in ran.stderr
