"""`import tidegate`: quick, complete, and the same for a type checker and for Python."""

import ast
import json
import subprocess
import sys

import pytest

import tidegate
from tests.conftest import ROOT

HEAVY = {
    "tensorflow",
    "keras",
    "mlflow",
    "pandas",
    "pyarrow",
    "onnxruntime",
    "bentoml",
    "matplotlib",
    "IPython",
}


def _loaded(code: str) -> set[str]:
    """The modules that are there after some code, in a process of its own."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_import_loads_nothing_and_a_plan_nothing_heavy() -> None:
    assert {name for name in _loaded("import tidegate") if name.startswith("tidegate")} == {"tidegate"}
    everything = _loaded("from tidegate import *")
    assert "numpy" in everything and not everything & HEAVY


def test_every_name_is_there_and_type_checkers_see_the_same() -> None:
    tree = ast.parse((ROOT / "pipelines/api.py").read_text("utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(names) == tidegate.__all__
    assert set(dir(tidegate)) == {*names, "__version__"}
    for name in names:
        found = getattr(tidegate, name)
        assert found.__name__ == name and found.__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tidegate' has no attribute 'sumbit'"):
        _ = tidegate.sumbit
