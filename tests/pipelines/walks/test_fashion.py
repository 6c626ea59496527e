"""Real accuracy on the full Fashion-MNIST, through the whole pipeline; minutes, so `make test-slow`."""

import json
import subprocess

import pytest

from tests.conftest import Cli


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("fashion-mlp", 0.88), ("fashion-cnn", 0.91)])
def test_the_published_accuracy_is_reached_at_a_live_endpoint(cli: Cli, name: str, least: float) -> None:
    ran = cli("submit", name, "--json", timeout=1500)
    assert ran.code == 0, ran.stderr
    answer = ran.json
    print(name, answer["metrics"]["test_accuracy"], answer["parity"], answer["steps"])
    assert answer["metrics"]["test_accuracy"] >= least
    assert answer["runtime"] == "onnx"
    predictions = json.loads(subprocess.check_output(answer["curl"], shell=True))["predictions"]
    assert len(predictions[0]["probabilities"]) == 10
