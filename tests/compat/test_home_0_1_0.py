"""A home made by 0.1.0, when the four packages were imported by their own names, goes on under today's code.

`home-0.1.0.tar.xz` holds a project folder: the experiment, its home with two releases (ONNX Runtime, then TensorFlow),
and a BentoML home with the bento of each. `answers-0.1.0.json` is what both releases answered then.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tidegate.models.data.columns import load_columns
from tidegate.models.preprocessing.schema import Schema
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.steps.comparison.learned_rows import among, digests_by

HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "answers-0.1.0.json").read_text())
BENTOS = {"letters:d088dc4ac8c0576e": "1", "letters:121efd41b82b5701": "2"}


@dataclass(frozen=True)
class Project:
    """The unpacked project folder."""

    folder: Path
    cli: Cli


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, its endpoint's port being one that is free here."""
    folder = tmp_path_factory.mktemp("compat")
    with tarfile.open(HERE / "home-0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    record = folder / ".tidegate" / "store" / "docs" / "endpoints" / "letters.json"
    state = json.loads(record.read_text())
    record.write_text(json.dumps({**state, "port": free_port()}))
    cli = Cli(folder / ".tidegate")
    yield Project(folder, cli)
    cli("down")


def predictions(project: Project) -> Any:
    return project.cli.ok("predict", "letters", stdin=json.dumps({"rows": ANSWERS["rows"]}))["predictions"]


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    for one, other in zip(found, expected, strict=True):
        if one["label"] != other["label"] or one["probabilities"] != pytest.approx(
            other["probabilities"], abs=1e-6
        ):
            return False
    return True


def test_the_rows_that_an_old_run_learned_from_are_known(project: Project) -> None:
    """Its parts were drawn by place and it kept no digests: a comparison with it still leaves its rows out."""
    home = Home(project.cli.home)
    (outputs,) = outputs_of(home, home.run_folder("letters-860e17bd").read(), "prepare")
    prepared = Prepared.model_validate(outputs)
    assert prepared.learned is None and prepared.held is None
    schema = Schema.model_validate_json(home.store.fetch(prepared.schema_).read_bytes())
    for part, known in (("train", 1.0), ("validation", 1.0), ("test", 0.0)):
        digests = digests_by(schema, load_columns(home.store.fetch(getattr(prepared, part))))
        assert among(home, "letters-860e17bd", digests).mean() == known


def test_runs_and_endpoints_are_listed(project: Project) -> None:
    assert [run["run"] for run in project.cli.ok("runs")] == ["letters-860e17bd", "letters-43ca6edd"]
    (endpoint,) = project.cli.ok("endpoints")
    assert (endpoint["name"], endpoint["release"], endpoint["run"]) == ("letters", 2, "letters-860e17bd")
    shown = project.cli.ok("show", "letters-43ca6edd")
    assert shown["status"] == "done"
    assert shown["metrics"]["test_accuracy"] == pytest.approx(0.9583, abs=1e-4)
    assert project.cli.ok("gc")["removed"] == []


def test_the_live_release_answers_rollback_leads_to_the_first_and_a_new_one_follows(project: Project) -> None:
    assert same(predictions(project), ANSWERS["2"])
    assert project.cli.ok("rollback", "letters", "--to", "1")["release"] == 1
    assert same(predictions(project), ANSWERS["1"])
    answer = project.cli.ok("submit", str(project.folder / "experiment.yaml"), "--set", "training.epochs=21")
    assert (answer["status"], answer["release"]) == ("done", 3)
    assert project.cli.ok("rollback", "letters", "--to", "1")["release"] == 1
    assert same(predictions(project), ANSWERS["1"])


@pytest.mark.parametrize("tag", BENTOS)
def test_bentoml_serves_a_bento_of_then(project: Project, tag: str) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "BENTOML_HOME": str(project.folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    argv = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        argv, env=environment, cwd=project.folder, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert same(_ask(port), ANSWERS[BENTOS[tag]])
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _ask(port: int) -> list[dict[str, Any]]:
    body = json.dumps({"rows": ANSWERS["rows"]}).encode()
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", body, timeout=10) as response:
                return list(json.loads(response.read())["predictions"])
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
