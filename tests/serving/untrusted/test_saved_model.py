"""SavedModels that could do more than compute: each is refused before TensorFlow reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.serving.errors import UntrustedModelError
from tidegate.serving.untrusted.protobuf import message_class
from tidegate.serving.untrusted.saved_model import GRAPH, MESSAGES, check_saved_model


def function(graph: Any, name: str, *operators: str, calls: str = "", called: bool = False) -> None:
    """Add a function; `called`: TensorFlow's objects name it, as they name what a model can be asked."""
    added = graph.graph.library.function.add()
    added.signature.name = name
    for operator in operators:
        added.node.add(op=operator)
    if calls:
        added.node.add(op="PartitionedCall").attribute.add().value.function.name = calls
    if called:
        graph.objects.concrete_functions.add(key=name)


def write(folder: Path, change: Callable[[Any], None]) -> Path:
    """A folder like Keras' exports, with one change."""
    model = message_class("SavedModel", MESSAGES)()
    graph = model.meta_graphs.add()
    for operator in ("VarHandleOp", "Placeholder", "StatefulPartitionedCall"):
        graph.graph.node.add(op=operator)
    function(graph, "answer", "ReadVariableOp", "MatMul", "Softmax", called=True)
    function(graph, "wrapper", calls="answer", called=True)
    function(graph, "traced_save", "ShardedFilename", "SaveV2", "MergeV2Checkpoints")
    change(graph)
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.index").touch()
    (folder / "variables" / "variables.data-00000-of-00001").touch()
    (folder / GRAPH).write_bytes(model.SerializeToString())
    return folder


def test_what_keras_exports_passes(tmp_path: Path) -> None:
    check_saved_model(write(tmp_path / "model", lambda _: None))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda graph: function(graph, "f", "ReadFile", called=True), "'ReadFile' in the function 'f'"),
        (lambda graph: function(graph, "f", "WriteFile"), "'WriteFile' in the function 'f'"),
        (lambda graph: function(graph, "f", "EagerPyFunc"), "'EagerPyFunc'"),
        (lambda graph: graph.graph.node.add(op="SaveV2"), "it has the operator 'SaveV2'"),
        (lambda graph: function(graph, "f", "SaveV2", called=True), "'SaveV2' in the function 'f'"),
        (lambda graph: function(graph, "f", calls="traced_save"), "in the function 'traced_save'"),
        (
            lambda graph: graph.objects.concrete_functions.add(key="traced_save"),
            "in the function 'traced_save'",
        ),
        (lambda graph: function(graph, "f", "traced_save", called=True), "'traced_save' in the function 'f'"),
        (lambda graph: graph.assets.add(filename="../../etc/passwd"), "it reads the file '../../etc/passwd'"),
    ],
    ids=["read", "write", "python", "saves", "called", "calls", "named", "direct", "asset"],
)
def test_an_operator_that_does_more_than_compute_is_refused(
    tmp_path: Path, change: Callable[[Any], None], sentence: str
) -> None:
    with pytest.raises(UntrustedModelError, match=sentence):
        check_saved_model(write(tmp_path / "model", change))


def test_other_files_links_and_what_is_no_graph_are_refused(tmp_path: Path) -> None:
    extra = write(tmp_path / "extra", lambda _: None)
    (extra / "assets").mkdir()
    (extra / "assets" / "code.py").touch()
    with pytest.raises(UntrustedModelError, match=r"'assets/code\.py'"):
        check_saved_model(extra)
    link = write(tmp_path / "link", lambda _: None)
    (link / "fingerprint.pb").symlink_to("/etc/hostname")
    with pytest.raises(UntrustedModelError, match=r"'fingerprint\.pb' in it is a link"):
        check_saved_model(link)
    broken = write(tmp_path / "broken", lambda _: None)
    (broken / GRAPH).write_bytes(b"\xff" * 64)
    with pytest.raises(UntrustedModelError, match="not a graph of TensorFlow"):
        check_saved_model(broken)
    (broken / GRAPH).unlink()
    with pytest.raises(UntrustedModelError, match=f"it has no {GRAPH}"):
        check_saved_model(broken)
