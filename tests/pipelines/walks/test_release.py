"""A model of another framework to an endpoint: proved by its own answers, refused with one weight off, rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.conftest import Cli
from tests.models.imported.onnx_files import WEIGHTS, probability, write_sklearn, write_torch
from tidegate.serving.deployment.client import Client

LOGITS = "training.loss={name: sparse_categorical_crossentropy, from_logits: true}"


class Files(NamedTuple):
    """Rows, and the answers that the right weights give to them."""

    folder: Path
    rows: Path
    answers: Path
    columns: np.ndarray


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder, random = tmp_path_factory.mktemp("release"), np.random.default_rng(5)
    columns = random.normal([5, 0, 4.5], [2, 1, 3], (240, 3)).astype(np.float32)
    sure = probability(columns)
    labels = np.where(random.random((240, 1)) < sure, "yes", "no")
    lines = [
        f"{a!r},{b!r},{c!r},{label}" for (a, b, c), (label,) in zip(columns.tolist(), labels, strict=True)
    ]
    (folder / "rows.csv").write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    np.save(folder / "answers.npy", sure)
    return Files(folder, folder / "rows.csv", folder / "answers.npy", columns)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    here = Cli(tmp_path_factory.mktemp("home") / "home")
    yield here
    here("down")


def asked(files: Files, model: Path, *more: str) -> list[str]:
    rows = ["--rows", str(files.rows), "--target-column", "y", "--endpoint", "linear"]
    return ["release", str(model), *rows, *more]


@pytest.fixture(scope="module")
def released(files: Files, cli: Cli) -> dict[str, Any]:
    """The answer of a release of a PyTorch-like file, proved."""
    model = write_torch(files.folder / "right.onnx")
    answer: dict[str, Any] = cli.ok(*asked(files, model, "--answers", str(files.answers), "--set", LOGITS))
    return answer


def test_it_is_proved_by_its_own_answers_and_serves_them(files: Files, released: dict[str, Any]) -> None:
    assert released["proof"] == "answers" and released["parity"] < 1e-5
    assert released["runtime"] == "onnx" and released["release"] == 1
    assert [step["step"] for step in released["steps"]][:2] == ["prepare", "import"]
    with Client(released["endpoint"]) as client:
        rows = [dict(zip("abc", row, strict=True)) for row in files.columns[:5].tolist()]
        served = [answer["probabilities"][1] for answer in client.predict(rows)]
    np.testing.assert_allclose(served, probability(files.columns[:5])[:, 0], atol=1e-6)


def test_one_weight_off_by_a_hundredth_is_refused_with_row_and_distance(
    files: Files, cli: Cli, released: dict[str, Any]
) -> None:
    weights = WEIGHTS.copy()
    weights[1] *= 1.01
    model = write_torch(files.folder / "wrong.onnx", weights)
    apart = np.abs(probability(files.columns, weights) - probability(files.columns)).max(axis=1)
    ran = cli(*asked(files, model, "--answers", str(files.answers), "--set", LOGITS))
    assert ran.code == 1
    sentence = ran.stderr.strip().splitlines()[-1]
    assert f"in row {apart.argmax()}, counted from 0" in sentence
    assert f"{apart.max():.3g} apart; allowed is 0.0001" in sentence
    (live,) = cli.ok("endpoints")
    assert live["release"] == released["release"]


@pytest.mark.slow
def test_without_answers_nothing_proves_it_and_a_rollback_goes_to_a_trained_model(
    files: Files, cli: Cli, released: dict[str, Any]
) -> None:
    second = cli.ok(*asked(files, write_sklearn(files.folder / "sklearn.onnx")))
    assert second["parity"] is None and second["proof"] == "none" and second["release"] == 2
    assert any("nothing proves" in warning for warning in second["warnings"])
    experiment = files.folder / "trained.yaml"
    experiment.write_text(
        "name: linear-here\ndata: {source: rows.csv, target: y}\nmodel: {family: linear}\n"
        "training: {epochs: 30}\ngate: {metric: test_accuracy, improve_on_champion: null}\n"
        "serving: {endpoint: linear}\n"
    )
    assert cli.ok("submit", str(experiment))["release"] == 3
    row = dict(zip("abc", files.columns[0].tolist(), strict=True))

    def answered() -> float:
        with Client(released["endpoint"]) as client:
            return float(client.predict([row])[0]["probabilities"][1])

    here = answered()
    cli.ok("rollback", "linear", "--to", "1")
    assert answered() == pytest.approx(float(probability(files.columns[:1])[0, 0]), abs=1e-6)
    cli.ok("rollback", "linear", "--to", "3")
    assert answered() == here
