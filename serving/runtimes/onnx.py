"""ONNX Runtime: the preferred runtime; no TensorFlow in its process."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.runtimes import Run


def load(model: Path, code: Path | None, threads: int) -> Run:
    """Load an `.onnx` file; `code` is not needed: the graph is complete. Raises what ONNX Runtime raises."""
    import onnxruntime

    del code
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the CPU from the event loop beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    outputs = [session.get_outputs()[0].name]

    def run(inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(session.run(outputs, inputs)[0], np.float32)

    return run
