"""A class at each pixel: from folders of images and masks to an endpoint that answers masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli
from tests.pipelines.walks.asking import asked

EXPERIMENT = """
name: crowns
data:
  source: land
  target: {name: mask, kind: mask, classes: {0: ground, 255: tree}, ignore: 7}
  split: {validation: 0.1, test: 0.2}
model: {family: unet, filters: 4, depth: 2, convolutions: 1}
training:
  epochs: 12
  batch_size: 8
  optimizer: {name: adam, learning_rate: 0.01}
  class_weights: balanced
  augmentation: {flip: both}
  metrics: [miou]
gate: [{metric: test_miou, minimum: 0.8}, {metric: test_iou_tree, minimum: 0.7}]
"""
SIDES = (10, 14)  # which cannot be halved twice


@pytest.fixture(scope="module")
def crowns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright squares on a dark ground, whose edges are not labelled."""
    folder, random = tmp_path_factory.mktemp("crowns"), np.random.default_rng(2)
    for name in ("images", "masks"):
        (folder / "land" / name).mkdir(parents=True)
    for row in range(60):
        image, mask = random.integers(0, 90, (*SIDES, 3)), np.zeros(SIDES, np.uint8)
        top, left = random.integers(0, 5), random.integers(0, 8)
        image[top : top + 5, left : left + 6] += 150
        mask[top : top + 5, left : left + 6] = 255
        mask[top, left : left + 6] = 7
        Image.fromarray(image.astype(np.uint8)).save(folder / "land" / "images" / f"{row}.png")
        Image.fromarray(mask).save(folder / "land" / "masks" / f"{row}.png")
    path = folder / "crowns.yaml"
    path.write_text(EXPERIMENT)
    return path


def test_masks_go_the_whole_way(cli: Cli, crowns: Path) -> None:
    answer = cli.ok("submit", str(crowns))
    assert answer["status"] == "done" and answer["runtime"] == "onnx"
    metrics = answer["metrics"]
    assert metrics["test_mean_iou"] == pytest.approx(
        (metrics["test_iou_tree"] + metrics["test_iou_ground"]) / 2
    )
    url, name = answer["endpoint"], "crowns"
    contract = asked(f"{url}/contract")
    assert (contract["classes"], contract["values"]) == (["ground", "tree"], [0, 255])
    files = sorted((crowns.parent / "land" / "images").iterdir())[:2]
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    found = asked(f"{url}/predict", {"rows": images.tolist()})["predictions"]
    masks = np.array([one["mask"] for one in found])
    truth = np.stack([np.asarray(Image.open(crowns.parent / "land" / "masks" / file.name)) for file in files])
    labelled = truth != 7
    assert masks.shape == (2, *SIDES) and set(np.unique(masks)) == {0, 255}
    assert (masks == truth)[labelled].mean() > 0.9
    offline = cli.ok("predict", name, "--offline", stdin=json.dumps(images.tolist()))["predictions"]
    np.testing.assert_array_equal([one["mask"] for one in offline], masks)
    served = asked(f"{url}/v1/models/{name}:predict", {"instances": images.tolist()})["predictions"]
    np.testing.assert_array_equal([one["mask"] for one in served], masks)
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": list(images.shape),
        "data": images.ravel().tolist(),
    }
    shares, mask = asked(f"{url}/v2/models/{name}/infer", {"inputs": [tensor]})["outputs"]
    assert (mask["name"], mask["datatype"], mask["shape"]) == ("mask", "INT32", [2, *SIDES])
    np.testing.assert_array_equal(np.reshape(mask["data"], masks.shape), masks)
    assert shares["shape"] == [2, *SIDES, 2]
    described = json.dumps(asked(f"{url}/openapi.json"))
    assert "row by row from the top; 0 is ground, 255 is tree" in described
    output = crowns.with_name("out.csv")
    cli.ok("predict", name, "--input", str(crowns.parent / "land" / "images"), "--output", str(output))
    lines = output.read_text().splitlines()
    assert lines[0] == "file,mask" and len(lines) == 61


def test_what_it_has_not_is_refused_before_a_step_runs(cli: Cli, crowns: Path) -> None:
    def refused(said: str, *changes: str) -> None:
        ran = cli("plan", str(crowns), *(part for change in changes for part in ("--set", change)))
        assert ran.code == 2 and said in ran.stderr, ran.stderr

    refused("states classes, which only a mask has", "data.target={name: mask, classes: [a, b]}")
    refused("classes of target mask are ['a', 'a']", "data.target={name: mask, kind: mask, classes: [a, a]}")
    refused(
        "ignores 0, which is the class 'a'", "data.target={name: m, kind: mask, classes: [a, b], ignore: 0}"
    )
    refused("'training.label_smoothing' is 0.1, for which a loss counts all", "training.label_smoothing=0.1")
    refused("loss 'categorical_crossentropy' counts all pixels", "training.loss=categorical_crossentropy")
    refused("loss is 'dice', which is not one number a pixel", "training.loss=dice")
    refused("metrics kl_divergence in 'training.metrics' count all", "training.metrics=[kl_divergence]")
    refused("unknown class 'three' in 'training.class_weights'", "training.class_weights={three: 2}")
    refused("a value at each place: its places would not move along", "training.augmentation={rotate: 9}")
    refused("the target is a class at each place; expected a class or", "training.calibration=temperature")
    refused("'data.split.folds' is set, and the target is a class at each place", "data.split={folds: 3}")
    refused("expected one of: test_iou_ground, test_iou_tree", "gate={metric: test_iou_three, minimum: 0.5}")
    refused("target mask is a mask, whose rows are held in memory", "data.stream=true")
    refused("this model answers a class at each place", "serving.explain=true")
    refused("family 'mlp' does not support a segmentation; expected one of: unet", "model={family: mlp}")
    refused(
        "metric 'mean_iou' in 'training.metrics' is for a class at each pixel",
        "data.target=label",
        "data.task=classification",
        "model={family: cnn}",
        "gate=[]",
    )
