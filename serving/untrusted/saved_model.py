"""Checks a SavedModel, TensorFlow's folder: it may hold one graph of numeric operators, and weights; nothing else.

A graph of TensorFlow can read and write files, open connections and call Python. So only operators that compute are
allowed: those of which an ONNX file can be made, and what holds variables. The operators that save and restore
checkpoints are in every SavedModel, in functions that nothing calls but TensorFlow itself; there they may stay.
Sources: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_model.proto, and what it
names, for the fields' numbers; https://github.com/onnx/tensorflow-onnx/blob/main/support_status.md for the operators.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tidegate.serving.untrusted import refusal
from tidegate.serving.untrusted.protobuf import TEXT, Messages, message_class, walk

GRAPH, MOST_BYTES, MOST_FILES = "saved_model.pb", 512 << 20, 64
FILES = {GRAPH, "fingerprint.pb", "keras_metadata.pb", "variables/variables.index"}
WEIGHTS = "variables/variables.data-"
SAVING = {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"}
VARIABLES = """
    AssignVariableOp Assert DisableCopyOnRead NoOp PartitionedCall ReadVariableOp ResourceGather StatefulPartitionedCall
    StaticRegexFullMatch StringJoin VarHandleOp VarIsInitializedOp"""
COMPUTING = """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd BiasAddV1 BroadcastArgs BroadcastTo Cast Ceil CheckNumerics
    ClipByValue Concat ConcatV2 Const Conv1D Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh Cumprod
    Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu EnsureShape Equal Erf Exp ExpandDims Fill Floor
    FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual
    Identity IdentityN If InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart MatrixDiag MatrixDiagV3 Max MaxPool MaxPool3D
    MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mul Neg NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder
    PlaceholderWithDefault Pow PreventGradient Prod RandomStandardNormal RandomUniform RandomUniformInt Range Rank
    RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseSequence ReverseV2 Rint Roll
    Round Rsqrt ScatterNd Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
    SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StatelessIf
    StatelessRandomGetKeyCounter StatelessRandomUniformV2 StatelessWhile StopGradient StridedSlice Sub Sum Tan Tanh
    TensorListFromTensor TensorListGetItem TensorListLength TensorListReserve TensorListResize TensorListSetItem
    TensorListStack TensorScatterAdd TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv Unpack UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Where While Xdivy Xlogy ZerosLike"""
ALLOWED = {*VARIABLES.split(), *COMPUTING.split()}
MESSAGES: Messages = {
    "SavedModel": {"meta_graphs": (2, "MetaGraph", True)},
    "MetaGraph": {
        "graph": (2, "Graph", False),
        "assets": (6, "Asset", True),
        "objects": (7, "Objects", False),
    },
    "Asset": {"filename": (2, TEXT, False)},
    "Objects": {"concrete_functions": (2, "Concrete", True)},
    "Concrete": {"key": (1, TEXT, False)},
    "Graph": {"node": (1, "Node", True), "library": (2, "Library", False)},
    "Library": {"function": (1, "Function", True)},
    "Function": {"signature": (1, "Signature", False), "node": (3, "Node", True)},
    "Signature": {"name": (1, TEXT, False)},
    "Node": {"op": (2, TEXT, False), "attribute": (5, "Attribute", True)},
    "Attribute": {"value": (2, "Value", False)},
    "Value": {"list": (1, "Values", False), "function": (10, "Name", False)},
    "Values": {"function": (9, "Name", True)},
    "Name": {"name": (1, TEXT, False)},
}


def check_saved_model(folder: Path) -> None:
    """Refuse a folder with other files, more than one graph, or an operator that does more than compute.

    Raises:
        UntrustedModelError: with the file, function or operator at fault.
    """
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise refusal(folder, f"{name!r} in it is a link or not a file", "plain files")
        if name not in FILES and not name.startswith(WEIGHTS):
            raise refusal(folder, f"it has the file {name!r}", f"{GRAPH} and variables only")
    if not (folder / GRAPH).is_file() or (folder / GRAPH).stat().st_size > MOST_BYTES:
        raise refusal(folder, f"it has no {GRAPH}, or one of more than {MOST_BYTES} bytes", "a SavedModel")
    _check_graph(folder, _parsed(folder))


def _files(folder: Path) -> Iterator[Path]:
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number > MOST_FILES:
            raise refusal(folder, f"it has more than {MOST_FILES} files", f"{GRAPH} and variables only")
        if path.is_symlink() or not path.is_dir():
            yield path


def _check_graph(folder: Path, graph: Any) -> None:
    if graph.assets:
        raise refusal(folder, f"it reads the file {graph.assets[0].filename!r}", "no assets")
    functions = {one.signature.name: one.node for one in graph.graph.library.function}
    named = {one.key for one in graph.objects.concrete_functions}
    named |= {name for nodes in functions.values() for name in _called(nodes)}
    for name, nodes in {**functions, "": graph.graph.node}.items():
        saves = bool(name) and name not in named
        allowed = ALLOWED | (SAVING if saves else set())
        wrong = next((node.op for node in nodes if node.op not in allowed), None)
        if wrong is not None:
            where = f" in the function {name!r}" if name else ""
            raise refusal(folder, f"it has the operator {wrong!r}{where}", "operators that only compute")


def _called(nodes: Iterable[Any]) -> set[str]:
    """The functions that operators call."""
    return {part.name for node in nodes for kind, part in walk(node) if kind == "Name"}


def _parsed(folder: Path) -> Any:
    from google.protobuf.message import DecodeError

    parsed = _saved_model_class()()
    try:
        parsed.ParseFromString((folder / GRAPH).read_bytes())
    except (DecodeError, RecursionError) as error:
        raise refusal(folder, f"its {GRAPH} is not a graph of TensorFlow", "a SavedModel") from error
    if len(parsed.meta_graphs) != 1:
        raise refusal(folder, f"it has {len(parsed.meta_graphs)} graphs", "one")
    return parsed.meta_graphs[0]


@cache
def _saved_model_class() -> Any:
    return message_class("SavedModel", MESSAGES)
