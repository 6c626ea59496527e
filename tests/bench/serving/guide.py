"""BentoML with ONNX Runtime as its guide writes it: `MODEL=... bentoml serve tests.bench.serving.guide:Images`."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Images:
    """Images to probabilities."""

    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """`{"rows": [image, ...]}` to probabilities."""
        pixels = rows.astype(np.float32)[..., None] / 255
        return self.session.run(None, {"image": pixels})[0]
