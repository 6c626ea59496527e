"""Whole submits whose store fails at one call: what is left is right, and the same submit again ends well."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bucket_servers import S3Server
from tests.conftest import Cli
from tests.faults.store.faults import ALL, CALLS, FAULTS, PATH, RAISING, SILENT
from tests.forked import Program
from tests.mlflow_server import give_mlflow
from tidegate.infra.store import FolderStore

LONGEST_S = 4 * 3600 if ALL else 600
COUNTS = {"folder": 0 if ALL else 3, "s3": 20 if ALL else 1}


def walked(home: Path, url: str, count: int, faults: Sequence[str]) -> list[dict[str, Any]]:
    """Walk in one process; what it reports of each submit."""
    give_mlflow(home)
    report = home.parent / "report.jsonl"
    env = {"BENTOML_HOME": str(home.parent / "bentoml"), PATH: os.environ.get("PYTHONPATH", "")}
    words = (str(home), url, str(count), ",".join(faults), str(report))
    program = Program("tensorflow", "tests.faults.store.walks", *words, env=env)
    _, stderr = program.communicate(timeout=LONGEST_S)
    assert program.returncode == 0, stderr[-3000:]
    return [json.loads(line) for line in report.read_text().splitlines()]


@pytest.mark.parametrize("kind", COUNTS)
def test_a_submit_survives_a_fault_at_a_call(
    kind: str, cli: Cli, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = "-"
    if kind == "s3":
        server: S3Server = request.getfixturevalue("s3")
        url = server.url(tmp_path.name)
        cli.home.mkdir()
        (server.folder / tmp_path.name).mkdir()
        (cli.home / "store").symlink_to(server.folder / tmp_path.name)  # the same files, for the sync
    named = os.environ.get(FAULTS)
    faults = named.split(",") if named else (*RAISING, *SILENT) if ALL else RAISING
    found = walked(cli.home, url, 1 if named else COUNTS[kind], faults)
    assert found
    assert all(re.search(os.environ.get(CALLS, ""), "".join(one["met"][:1])) for one in found)
    assert all(one["met"] for one in found)
    wrong = [one for one in found if one["problems"]]
    assert not wrong, json.dumps(wrong, indent=1)
    assert any(one["failed"] for one in found)
    assert len(FolderStore(cli.home / "store").keys("history/entries/")) == len(found) + (2 if named else 1)
