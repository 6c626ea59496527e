"""The churn project, none of whose lines is changed: from its months of Parquet to an endpoint that takes raw rows."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Cli
from tidegate.serving.deployment.client import Client

PROJECT = Path(__file__).parent / "churn"
# The project's own pipeline, in a process of its own: its model on its features of the rows, as they were read.
PIPELINE = """
import sys
import keras, numpy as np, pandas as pd
from churn.features import build_features
import churn.models.net
whole = keras.models.load_model(sys.argv[1], compile=False)
model = whole.get_layer("churn")
np.save(sys.argv[3], model.predict(build_features(pd.read_parquet(sys.argv[2])), batch_size=1000, verbose=0))
"""


def _project(folder: Path, rows: int) -> Path:
    """A copy of the project with this many rows a month."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(PROJECT / "make_data.py"))["write"](folder / "data", rows)
    return folder


def _raw(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a customer sends them: a date and a segment as text, a decimal and a count as numbers."""
    return [
        {
            "signup_date": row.signup_date.isoformat(),
            "segment": row.segment,
            "amount": float(row.amount),
            "visits": None if np.isnan(row.visits) else int(row.visits),
        }
        for row in frame.itertuples()
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Cli, dict[str, Any]]]:
    """The project with few rows, submitted."""
    root = tmp_path_factory.mktemp("small")
    project, cli = _project(root / "project", 60), Cli(root / "home")
    argv = ("--set", "training.epochs=2", "--set", "gate=none")
    yield project, cli, cli.ok("submit", str(project / "experiment.yaml"), *argv)
    cli("down")


def test_the_endpoint_takes_raw_rows(small: tuple[Path, Cli, dict[str, Any]]) -> None:
    project, _, answer = small
    assert answer["status"] == "done" and answer["runtime"] == "onnx" and answer["parity"] < 1e-6
    rows = _raw(pd.read_parquet(project / "data" / "2025" / "2025-09.parquet"))
    with Client(answer["endpoint"]) as client:
        contract = client.contract()
        together = client.predict(rows)
        alone = [client.predict([row])[0] for row in rows[:10]]
    assert [entry["name"] for entry in contract["inputs"]] == ["signup_date", "segment", "amount", "visits"]
    assert [entry["nullable"] for entry in contract["inputs"]] == [False, False, False, True]
    found = [[one["probability"] for one in part] for part in (alone, together[:10])]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.parametrize(
    ("file", "repeated"),
    [
        ("churn/train.py", set()),
        ("churn/models/net.py", {"train", "select", "package", "deploy", "verify", "promote"}),
        ("churn/features.py", {"prepare", "train", "select", "package", "deploy", "verify", "promote"}),
    ],
)
def test_what_an_edit_repeats(file: str, repeated: set[str], small: tuple[Path, Cli, dict[str, Any]]) -> None:
    project, cli, _ = small
    before = (project / file).read_text()
    (project / file).write_text(f"{before}\n# edited\n")
    try:
        argv = ("--set", "training.epochs=2", "--set", "gate=none")
        steps = cli.ok("plan", str(project / "experiment.yaml"), *argv)["steps"]
    finally:
        (project / file).write_text(before)
    assert {step["step"] for step in steps if not step["cached"]} == repeated


@pytest.mark.slow
def test_ten_thousand_raw_rows_get_what_the_projects_own_pipeline_gives(tmp_path: Path) -> None:
    project, cli = _project(tmp_path / "project", 800), Cli(tmp_path / "home")
    try:
        answer = cli.ok("submit", str(project / "experiment.yaml"))
        assert 0.64 < answer["metrics"]["test_auc"] < 0.7
        frame = _many(project, 10_000)
        frame.to_parquet(tmp_path / "rows.parquet")
        with Client(answer["endpoint"]) as client:
            served = [one["probabilities"][1] for one in client.predict(_raw(frame))]
    finally:
        cli("down")
    (model,) = (tmp_path / "home" / "mlflow").rglob("model.keras")
    argv = [
        sys.executable,
        "-c",
        PIPELINE,
        str(model),
        str(tmp_path / "rows.parquet"),
        str(tmp_path / "own.npy"),
    ]
    subprocess.run(argv, cwd=project, check=True, capture_output=True)
    assert np.abs(np.load(tmp_path / "own.npy")[:, 0] - np.array(served)).max() < 1e-6


def _many(project: Path, count: int) -> pd.DataFrame:
    """Rows of all months, drawn with replacement, each at a time of its own."""
    random = np.random.default_rng(3)
    months = [pd.read_parquet(path) for path in sorted(project.glob("data/*/*.parquet"))]
    frame = pd.concat(months, ignore_index=True)
    frame = frame.iloc[random.integers(0, len(frame), count)].reset_index(drop=True)
    frame["signup_date"] += pd.to_timedelta(random.integers(0, 30 * 86_400, count), unit="s")
    return frame
