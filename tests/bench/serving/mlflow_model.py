"""Save an ONNX file as an MLflow model: `python -m tests.bench.serving.mlflow_model FILE FOLDER`."""

import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import Schema, TensorSpec


def main() -> None:
    """Save it."""
    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 28, 28, 1), "image")])
    outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 10), "output")])
    signature = ModelSignature(inputs, outputs)
    needs = ["onnxruntime"]
    mlflow.onnx.save_model(onnx.load(sys.argv[1]), sys.argv[2], signature=signature, pip_requirements=needs)


if __name__ == "__main__":
    main()
