"""From a folder of images with boxes to an endpoint that finds them, and what is refused before a step runs."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli

EXPERIMENT = """
name: squares
data:
  source: squares
  target: {name: boxes, kind: boxes}
  split: {validation: 0.1, test: 0.2}
model: {family: ssd, filters: [8, 16, 16], convolutions: 1, width: 16, box_width: 16}
training: {epochs: 15, batch_size: 8, optimizer: {name: adam, learning_rate: 0.01}, augmentation: {flip: both}}
gate: {metric: test_map50, minimum: 0.5}
serving: {detection: {score: 0.3, iou: 0.4, max_boxes: 20}}
"""
SIZE = 48
COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


def drawn(random: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, list[int]]]]:
    """Noise with up to three squares of two colours, and where they are."""
    pixels = random.integers(90, 150, (SIZE, SIZE, 3)).astype(np.uint8)
    boxes: list[tuple[str, list[int]]] = []
    for _ in range(random.integers(0, 4)):
        side = int(random.integers(8, 16))
        left, top = (int(random.integers(0, SIZE - side)) for _ in range(2))
        label = str(random.choice(list(COLOURS)))
        pixels[top : top + side, left : left + side] = COLOURS[label]
        boxes.append((label, [left, top, left + side, top + side]))
    return pixels, boxes


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of images, and the experiment's file beside it."""
    folder, random = tmp_path_factory.mktemp("squares"), np.random.default_rng(4)
    (folder / "squares").mkdir()
    with (folder / "squares" / "boxes.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image_path", "xmin", "ymin", "xmax", "ymax", "label"])
        for number in range(160):
            pixels, boxes = drawn(random)
            Image.fromarray(pixels).save(folder / "squares" / f"{number}.png")
            table.writerows([f"{number}.png", *box, label] for label, box in boxes)
            if not boxes:
                table.writerow([f"{number}.png", "", "", "", "", ""])
    path = folder / "squares.yaml"
    path.write_text(EXPERIMENT)
    return path


def png(pixels: np.ndarray) -> dict[str, str]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"b64": base64.b64encode(buffer.getvalue()).decode()}


def test_boxes_go_the_whole_way(cli: Cli, squares: Path) -> None:
    answer = cli.ok("submit", str(squares))
    assert answer["status"] == "done" and answer["runtime"] == "onnx" and answer["parity"] < 1e-3
    assert set(answer["metrics"]) == {
        f"{split}_{name}" for split in ("validation", "test") for name in ("map50", "map")
    }
    pixels = np.full((SIZE, SIZE, 3), 120, np.uint8)
    pixels[8:20, 24:36] = COLOURS["blue"]
    twice = pixels.repeat(2, axis=0).repeat(3, axis=1)  # 96 high, 144 wide
    rows: list[Any] = [pixels.tolist(), png(pixels), png(twice)]
    online = cli.ok("predict", "squares", stdin=json.dumps(rows))["predictions"]
    offline = cli.ok("predict", "squares", "--offline", stdin=json.dumps(rows))["predictions"]
    for answers in (online, offline):
        for found, (x, y) in zip(answers, [(1, 1), (1, 1), (3, 2)], strict=True):
            best = found["boxes"][0]
            assert best["label"] == "blue" and best["score"] > 0.3
            np.testing.assert_allclose(best["box"], [24 * x, 8 * y, 36 * x, 20 * y], atol=3 * x)
    output, images = squares.with_name("out.csv"), squares.with_name("squares")
    assert cli.ok("predict", "squares", "--input", str(images), "--output", str(output))["rows"] == 160
    with output.open() as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == ["file", "label", "score", "xmin", "ymin", "xmax", "ymax"] and len(table) > 100
    worse = cli("submit", str(squares), "--json", "--set", "training.optimizer.learning_rate=0.0001")
    assert worse.code == 3 and "of the champion on 32 rows that neither learned from" in worse.json["reason"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.task=regression", "target boxes is boxes, and task is regression"),
        ("model={family: cnn}", "family 'cnn' does not support a detection; expected one of: ssd"),
        ("data.target={name: boxes, kind: text}", "family 'ssd' does not support a generation"),
        ("serving.detection.score=2", "serving.detection.score"),
        ("serving.detection.with=3", "serving.detection.with: unknown key"),
        (
            "serving={decoding: {method: beam}}",
            "serving.decoding is for a generation, and this is a detection",
        ),
        ("training.loss=mean_squared_error", "does not fit a detection"),
        ("gate.metric=test_rmse", 'no run has a metric "test_rmse"'),
        ("data.tile=3", "data.tile"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_step_runs(
    cli: Cli, squares: Path, change: str, said: str
) -> None:
    ran = cli("plan", str(squares), "--set", change)
    assert ran.code == 2 and said in ran.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.calibration=temperature", "Option 'training.calibration' is set, and the target is boxes"),
        pytest.param(
            "training.augmentation={rotate: 10}",
            "boxes would not move along; expected flip and noise alone",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "training.loss={name: multibox, positives: 2}",
            "unknown option 'positives' of loss 'multibox'",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_not_for_boxes_is_refused(shared: Cli, squares: Path, change: str, said: str) -> None:
    ran = shared("submit", str(squares), "--set", change)
    assert ran.code == 1 and said in ran.stderr
