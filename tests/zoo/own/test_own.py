"""Small projects as people have them, from their own data and model to an endpoint; each folder says what it wants.

`want.yaml` has the `status` of the run, for `metrics` the least and the largest value, and raw `rows` that the endpoint
must answer.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import Cli
from tidegate.serving.deployment.client import Client

PROJECTS = sorted(path.parent for path in Path(__file__).parent.glob("*/want.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_project_gives_what_it_wants(project: Path, tmp_path: Path) -> None:
    folder, cli = tmp_path / project.name, Cli(tmp_path / "home")
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("__pycache__", "want.yaml"))
    want = yaml.safe_load((project / "want.yaml").read_text())
    try:
        answer = cli.ok("submit", str(folder))
        assert answer["status"] == want["status"] and answer["parity"] < 1e-4
        for name, (least, most) in want["metrics"].items():
            assert least <= answer["metrics"][name] <= most, (name, answer["metrics"][name])
        with Client(answer["endpoint"]) as client:
            for row in want.get("rows", ()):
                (found,) = client.predict([row])
                assert math.isfinite(found["probability"] if isinstance(found, dict) else found)
    finally:
        cli("down")
