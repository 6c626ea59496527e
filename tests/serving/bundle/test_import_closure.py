"""What a module reaches: read from the source, and the same as Python's own parser and its imports find."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.pipelines.planning.facts import CHANGES_NO_RESULT, code_digest
from tidegate.pipelines.planning.step import STEPS
from tidegate.pipelines.steps import MODULES
from tidegate.serving.bundle.import_closure import ROOT, file_of, import_closure, imports_in

DIGESTS = """
import json
from tidegate.pipelines.planning.facts import code_digest
from tidegate.pipelines.planning.step import STEPS
print(json.dumps({step: code_digest(step) for step in STEPS}))
"""


def by_the_parser(file: Path) -> Iterator[str]:
    """The modules of ours that a file imports, anywhere in it but for type checkers."""
    tree = ast.parse(file.read_text("utf-8"))
    tree.body = [node for node in tree.body if not _is_for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tidegate"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tidegate"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if file_of(name) else str(node.module) for name in names)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_every_import_of_ours_is_found() -> None:
    whole = import_closure(["tidegate.pipelines.cli", *MODULES.values()])
    assert len(whole) > 200
    for module, file in whole.items():
        missing = set(by_the_parser(file)) - set(whole)
        assert not missing, f"{module} imports {missing}"


@pytest.mark.parametrize("step", STEPS)
def test_what_a_step_imports_is_in_it(step: str) -> None:
    module = {"import": "import_model"}.get(step, step)  # import is a word of Python
    assert MODULES[step] == f"tidegate.pipelines.steps.{module}"
    loaded = "[name for name in sys.modules if name.startswith('tidegate')]"
    code = f"import json, sys, {MODULES[step]}; print(json.dumps({loaded}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) <= set(import_closure([MODULES[step]]))


def test_what_prepare_and_train_reach() -> None:
    prepare, train = (import_closure([MODULES[step]], CHANGES_NO_RESULT) for step in ("prepare", "train"))
    assert "tidegate.models.data.box_geometry" in prepare  # the default boxes are learned in prepare
    assert {"tidegate.models.readers.csv", "tidegate.models.readers.tfrecord"} <= set(prepare)
    assert not [
        module
        for module in prepare
        if module.startswith(("tidegate.models.families", "tidegate.models.training"))
    ]
    assert {
        "tidegate.models.families.ssd",
        "tidegate.models.loops.jax",
        "tidegate.models.training.fit",
    } <= set(train)
    assert "tidegate.models.evaluation.figures" not in train  # pictures change no result


def test_an_edit_repeats_what_it_can_reach(tmp_path: Path) -> None:
    copy = tmp_path / "tidegate"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", "testbed", "manifests"))

    def changed_by(name: str) -> set[str]:
        (copy / name).write_text((copy / name).read_text() + "\n# An edit.\n")
        before.update(now)
        now.update(digests())
        return {step for step in STEPS if before[step] != now[step]}

    def digests() -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-P", "-c", DIGESTS],
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout))

    before, now = {}, digests()
    assert changed_by("models/evaluation/figures.py") == set()
    assert changed_by("infra/store/folder.py") == set()
    assert changed_by("models/families/mlp.py") - {"import"} == {"train"}
    assert changed_by("pipelines/steps/__init__.py") == set()  # where a new step is named
    assert {"prepare", "train"} <= changed_by("models/data/box_geometry.py")
    assert changed_by("pipelines/steps/promote.py") == {"promote"}


def test_what_a_model_file_imports_of_ours_goes_with_it() -> None:
    text = "import keras\nfrom tidegate.models.families import mlp\nfrom tidegate.nothing import something\n"
    own = list(imports_in(text))
    assert own == ["tidegate.models.families.mlp"]
    service = "tidegate.serving.server.service"
    assert "tidegate.models.families.mlp" not in import_closure([service])
    assert {"tidegate.models.families.mlp", "tidegate.models.families.dense_head"} & set(
        import_closure([service, *own])
    )
    assert code_digest("prepare", tuple(own)) != code_digest("prepare")


def test_a_module_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"module 'tidegate\.models\.nothing' does not exist"):
        import_closure(["tidegate.models.nothing"])


def test_the_python_api_is_part_of_no_step() -> None:
    """An edit of it trains nothing again."""
    for step in STEPS:
        reached = import_closure([MODULES[step]], CHANGES_NO_RESULT, packages=False)
        assert not [name for name in reached if name == "tidegate" or ".python_api" in name]
