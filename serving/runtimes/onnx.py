"""ONNX Runtime: the preferred runtime; its process does not import TensorFlow."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.explaining.integrated_gradients import ANSWERS, PARTS, PICKS, PLACES, Arrays
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.serving.runtimes import Run

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


def load(model: Path, code: Path | None, threads: int) -> Run:
    """Load an `.onnx` file; `code` is not needed: the graph is complete. Raises what ONNX Runtime raises."""
    del code
    session = _session(model, threads)
    outputs = [answer.name for answer in session.get_outputs()]
    # The defaults, made once: without them each run makes its own, which takes a small model a tenth of the time.
    options = library().RunOptions()

    def run(inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(session.run(outputs, inputs, options)[0], np.float32)

    def run_several(inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        answers = [np.asarray(answer, np.float32) for answer in session.run(outputs, inputs, options)]
        return np.concatenate([answer.reshape(len(answer), -1) for answer in answers], axis=1)

    return run if len(outputs) == 1 else run_several


def load_before(model: Path, code: Path | None, threads: int) -> Run | None:
    """Load the graph with one more output, in memory; it needs the package `onnx`, which an endpoint does not have."""
    del code
    import onnx

    proto = onnx.load_model(str(model))
    if len(proto.graph.output) > 1:
        return None
    name = _before_last_activation(proto.graph)
    if name is None:
        return None
    proto.graph.output.append(onnx.ValueInfoProto(name=name))
    session = _session(proto.SerializeToString(), threads)

    def run(inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.asarray(session.run([name], inputs)[0], np.float32)

    return run


def _before_last_activation(graph: Any) -> str | None:
    """The input of the Softmax or Sigmoid whose result is the graph's first output."""
    makers = {result: node for node in graph.node for result in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type == "Identity":
        node = makers.get(node.input[0])
    return str(node.input[0]) if node is not None and node.op_type in ("Softmax", "Sigmoid") else None


def load_slopes(model: Path, code: Path | None, threads: int, specs: Mapping[str, InputSpec]) -> "OnnxSlopes":
    """Load what `export.onnx_explainer` wrote; raises what ONNX Runtime raises."""
    del code, specs
    return OnnxSlopes(_session(model, threads))


class OnnxSlopes:
    """The slopes of an exported model, see `explaining.integrated_gradients.PathGradients`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = {given.name for given in session.get_inputs()} - {PLACES, PICKS}
        self._parts = [end.name for end in session.get_outputs() if end.name != ANSWERS]
        (answers,) = (end for end in session.get_outputs() if end.name == ANSWERS)
        self.units = int(answers.shape[1])

    def __call__(
        self, inputs: Arrays, places: NDArray[np.float32], picks: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Arrays]:
        """The gradients at one point of each row's path."""
        given = {name: inputs[name] for name in self._names} | {PLACES: places, PICKS: picks}
        answers, *parts = self._session.run([ANSWERS, *self._parts], given)
        names = (name.removeprefix(PARTS) for name in self._parts)
        return answers, dict(zip(names, parts, strict=True))


def library() -> Any:
    """ONNX Runtime, without its telemetry: a thread, a database in the home folder and uploads since 1.31."""
    os.environ.setdefault(NO_TELEMETRY, "1")  # it is read at the import, so that no call comes early enough
    import onnxruntime

    return onnxruntime


def _session(model: Path | bytes, threads: int) -> Any:
    onnxruntime = library()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the CPU from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def load_cached(model: Path, code: Path | None, threads: int) -> "OnnxCachedModel":
    """Load what `export.onnx_cache` wrote; raises what ONNX Runtime raises."""
    del code
    return OnnxCachedModel(_session(model, threads))


class OnnxCachedModel:
    """See `decoding.cache.CachedModel`."""

    def __init__(self, session: Any) -> None:
        self._session, self._options = session, library().RunOptions()
        self._names = [given.name for given in session.get_inputs()]
        self._outputs = [answer.name for answer in session.get_outputs()]
        self.parts = tuple((given.shape[1], given.shape[3]) for given in session.get_inputs()[3:])
        self.vocabulary = int(session.get_outputs()[0].shape[2])

    def read(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        past_positions: NDArray[np.int32],
        past: Sequence[NDArray[np.float32]],
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Read new tokens."""
        given = dict(zip(self._names, (tokens, positions, past_positions, *past), strict=True))
        probabilities, *new = self._session.run(self._outputs, given, self._options)
        return probabilities, new
