"""Bundles of the family that finds boxes, on every runtime; the weights are drawn, not learned.

`python -m tests.conformance.boxes FOLDER`, in a process of its own: it imports TensorFlow.
"""

import sys
from pathlib import Path

import numpy as np

from tests.conformance.bundles import write_bundles
from tidegate.models.data.box_column import format_boxes
from tidegate.models.data.columns import Columns
from tidegate.models.decoding.settings import Detection
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.inference.predictor import example_rows

ROWS = 24
HEIGHT, WIDTH = 12, 18
LABELS = ("bird", "træ")
DETECTION = Detection(score=0.4, iou=0.4, max_boxes=12)
MODEL = {"family": "ssd", "filters": [4], "convolutions": 1, "width": 8, "box_width": 8}


def drawn() -> Columns:
    """Noise with boxes anywhere."""
    random = np.random.default_rng(5)
    cells = []
    for _ in range(ROWS):
        corner, side = random.uniform(0, 6, (3, 2)), random.uniform(3, 6, (3, 2))
        cells.append(
            format_boxes(random.choice(LABELS, 3).tolist(), np.concatenate([corner, corner + side], axis=1))
        )
    return {
        "image": random.integers(0, 256, (ROWS, HEIGHT, WIDTH, 3)).astype(np.uint8),
        "boxes": np.array(cells, object),
    }


def build(folder: Path) -> None:
    """Write `folder/boxes-RUNTIME` for each runtime, the rows and the network's own answers beside it."""
    columns = drawn()
    schema = infer_schema(columns, None, ["boxes"], "detection")
    transforms = Transforms.fit(schema, columns)
    assert transforms.box_target is not None
    outputs = outputs_for("detection", len(LABELS), 1, grids=transforms.box_target.grids)
    network = build_model(MODEL, transforms.input_specs, outputs, 3)
    # As drawn by default, all classes are about equally probable for whatever is seen.
    kernel, bias = network.get_layer("output").get_weights()
    network.get_layer("output").set_weights([np.random.default_rng(1).normal(size=kernel.shape) * 4, bias])
    np.save(folder / "raw.npy", predict(network, transforms.apply(columns)))
    sample = example_rows(schema, columns)
    write_bundles(folder, "boxes", schema, transforms, network, columns, sample, DETECTION)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
