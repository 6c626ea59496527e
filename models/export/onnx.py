"""Export of a trained Keras model as an ONNX file for any ONNX runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.models.errors import ExportError, last_line, one_line
from tidegate.models.export.operators.handlers import Handler
from tidegate.models.export.operators.handlers import handlers as of_operators
from tidegate.models.export.operators.merged_steps import merged
from tidegate.models.export.operators.missing import MissingOperatorError, require_operators
from tidegate.models.export.operators.rewrites import graphs_of, rewrite
from tidegate.models.export.saved_keras import load_saved
from tidegate.models.keras_private import answers_of

OPSET = 18


@dataclass(frozen=True)
class Exported:
    """An ONNX file's input and output names, in order, and its operator set version."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int


def export_onnx(model: Any, path: Path) -> Exported:
    """Write `model` as an ONNX file whose inputs have the model inputs' names; the number of rows is free.

    Args:
        model: a trained Keras model whose inputs are named.
        path: the file to write; nothing is left there when the export fails.

    Raises:
        ExportError: the model cannot be exported faithfully; the message says why.
    """
    try:
        with silence(), merged(model):
            proto = _converted(model)
            check(proto)
    except Exception as error:
        raise ExportError(f"the model has no ONNX form: {reason(error, model)}") from error
    path.write_bytes(proto.SerializeToString())
    return Exported(
        tuple(given.name for given in proto.graph.input),
        tuple(answer.name for answer in proto.graph.output),
        int(next(used.version for used in proto.opset_import if used.domain in ("", "ai.onnx"))),
    )


def export_saved(model: Any, saved: Path, path: Path, code: Path | None = None) -> None:
    """Write a trained model as an ONNX file; from its `.keras` file if Keras does not run on TensorFlow.

    The converter reads only TensorFlow graphs, so in that case a separate process loads the file on TensorFlow.

    Args:
        model: the trained model.
        saved: its `.keras` file.
        path: the file to write.
        code: the user's model file, or the `code.json` of the project that defines layers of the model.

    Raises:
        ExportError: see `export_onnx`.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        export_onnx(model, path)
        return
    run_on_tensorflow("tidegate.models.export.onnx", saved, path, *([code] if code else []))


def run_on_tensorflow(module: str, *arguments: object) -> str:
    """Run an export in a process of its own, with TensorFlow on the CPU; what it printed.

    Raises:
        ExportError: the last line of what it complained of.
    """
    argv = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError(last_line(done.stderr) or "the export ended without a message")
    return done.stdout


def main(saved: str, path: str, code: str | None = None) -> None:
    """The separate process: `python -m tidegate.models.export.onnx KERAS ONNX [CODE]`."""
    try:
        export_onnx(load_saved(Path(saved), Path(code) if code else None), Path(path))
    except Exception as error:
        sys.exit(one_line(error))


def _converted(model: Any) -> Any:
    import tensorflow as tf

    names = [tensor.name for tensor in model.inputs]
    texts = [tensor.name for tensor in model.inputs if tensor.dtype == "string"]
    if texts:
        raise ExportError(
            f"the input {texts[0]!r} is text as it is, and ONNX Runtime has no operators for texts"
        )
    signature = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=f"input_{index}")
        for index, tensor in enumerate(model.inputs)
    ]

    def answer_of(*tensors: Any) -> Any:
        answer = model(dict(zip(names, tensors, strict=True)), training=False)
        return [answer[name] for name in sorted(answer)] if isinstance(answer, dict) else answer

    proto = convert(answer_of, signature)
    rename(proto, names, _output_names(model, names))
    for end in (*proto.graph.input, *proto.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "rows"
    return proto


def _output_names(model: Any, inputs: list[str]) -> list[str]:
    """`output`, or those of several outputs; a name that an input has is lengthened."""
    answers = answers_of(model)
    if not isinstance(answers, dict):
        return ["output"]
    return [f"output_{name}" if name in inputs else name for name in sorted(answers)]


def convert(function: Any, signature: list[Any], handlers: dict[str, Any] | None = None) -> Any:
    """Convert a function of TensorFlow tensors to an ONNX model, whose inputs and outputs have arbitrary names.

    Args:
        function: the function to trace.
        signature: a `tf.TensorSpec` for each of its arguments.
        handlers: for operators that the converter does not know, beside those of `operators.handlers`.

    Raises:
        MissingOperatorError: ONNX lacks an operator, and no handler could write it in others.
    """
    import tensorflow as tf
    import tf2onnx

    traced = tf.function(function, input_signature=signature, autograph=False)
    causes: dict[str, str] = {}
    every = {name: (_telling(call, causes), args) for name, (call, args) in of_operators(handlers).items()}
    with _without_inner_functions():
        proto, _ = tf2onnx.convert.from_function(traced, signature, opset=OPSET, custom_op_handlers=every)
        _bind_captured(proto, traced.get_concrete_function(), len(signature))
    rewrite(proto)
    require_operators(proto, graphs_of(proto.graph), causes)
    return proto


def _telling(handler: Handler, causes: dict[str, str]) -> Handler:
    """A handler whose errors are kept by the node's name: the converter goes on after one and forgets it."""

    def handle(ctx: Any, node: Any, name: str, args: list[Any]) -> None:
        try:
            handler(ctx, node, name, args)
        except Exception as error:
            causes[name] = one_line(error)
            raise

    return handle


@contextlib.contextmanager
def _without_inner_functions() -> Iterator[None]:
    """Trace a function that another one calls as part of it: Keras compiles a grouped convolution by itself."""
    import tensorflow as tf

    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eagerly)


def _bind_captured(proto: Any, function: Any, count: int) -> None:
    """Constants of a layer, such as Normalization's mean, are converted to inputs: make them constants again."""
    import onnx

    values = {
        tensor.name: captured
        for tensor, captured in zip(function.inputs[count:], function.captured_inputs, strict=True)
        if captured.dtype.name != "resource"
    }
    used = {name for node in proto.graph.node for name in node.input}
    for given in [given for given in proto.graph.input if given.name in values]:
        proto.graph.input.remove(given)
        if given.name in used:
            constant = onnx.numpy_helper.from_array(values[given.name].numpy(), given.name)
            proto.graph.initializer.append(constant)


def rename(proto: Any, inputs: list[str], outputs: list[str]) -> None:
    """Rename inputs and outputs with Identity nodes, because the converter's names may occur in subgraphs, too."""
    graph = proto.graph
    first, last = [], []
    for given, name in zip(graph.input, inputs, strict=True):
        first.append(_identity(name, given.name))
        given.name = name
    for answer, name in zip(graph.output, outputs, strict=True):
        last.append(_identity(answer.name, name))
        answer.name = name
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)


def _identity(source: str, result: str) -> Any:
    import onnx

    return onnx.helper.make_node("Identity", [source], [result], name=f"{source}_to_{result}")


def check(proto: Any) -> None:
    """Check operators and types; that the outputs are right is checked later, on rows."""
    import onnx

    onnx.checker.check_model(proto, full_check=True)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppress the converter's prints, logs and warnings, which are not problems."""
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def reason(error: Exception, model: Any = None) -> str:
    """An error of the converter in one line, which names the layer of the model that it is about where it is known."""
    if isinstance(error, MissingOperatorError):
        return error.told(model)
    if isinstance(error, ExportError):
        return str(error)
    return f"{type(error).__name__}: {one_line(error)[:500]}"


if __name__ == "__main__":
    main(*sys.argv[1:])
