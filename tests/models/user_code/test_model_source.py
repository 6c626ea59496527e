"""The module of a user's model: how its imports are found, which classes it brings, and where it fails."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.models.errors import UserModelError
from tidegate.models.user_code.code_folder import FILES, CodeFolder, use_code, write_code
from tidegate.models.user_code.model_source import MODULE, custom_objects, model_module, own_source
from tidegate.models.user_code.project import project_document, use_project

FILE = {
    "shop/__init__.py": "RUN = True\n",
    "shop/blocks.py": "class Block: ...\n\n\ndef swish(x): ...\n",
    "shop/relative.py": "from .blocks import Block\n\n\ndef build(): ...\n",
    "shop/absolute.py": "from shop.blocks import Block\n\n\ndef build(): ...\n",
    "shop/sibling.py": "from blocks import Block\n\n\ndef build(): ...\n",
    "plain.py": "import shop.blocks\n\n\nclass Own: ...\n\n\ndef build(): return shop.blocks.Block\n",
    "fails.py": "from shop import broken\n",
    "shop/broken.py": "x = 1\ny = 1 / 0\n",
    "lonely.py": "from .blocks import Block\n",
    "keras.py": "raise SystemExit('hides Keras')\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / FILES
    for name, text in FILE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    use_project([folder, folder / "shop"])
    yield folder
    use_project([])
    for name in ("shop", "blocks", MODULE):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("file", "module", "block"),
    [
        ("shop/relative.py", "shop.relative", "shop.blocks"),
        ("shop/absolute.py", MODULE, "shop.blocks"),
        ("shop/sibling.py", MODULE, "blocks"),
    ],
)
def test_a_model_file_imports_its_neighbours(file: str, module: str, block: str, project: Path) -> None:
    found = model_module(project / file)
    assert (found.__name__, found.Block.__module__) == (module, block)


def test_classes_of_neighbours_are_known_too(project: Path) -> None:
    model_module(project / "plain.py")
    assert {"Own", "build", "Block", "swish"} <= custom_objects(project / "plain.py").keys()


def test_a_reference_names_its_file(project: Path) -> None:
    assert own_source({"function": "shop.relative:build"}) == project / "shop" / "relative.py"
    assert own_source({"file": "a.py"}) == Path("a.py")
    assert own_source({"family": "mlp"}) is None


def test_an_error_names_the_line_in_the_neighbour(project: Path) -> None:
    with pytest.raises(UserModelError, match=r"shop/broken\.py:2: .*raised ZeroDivisionError"):
        model_module(project / "fails.py")


def test_a_relative_import_at_the_root_fails_as_in_python(project: Path) -> None:
    with pytest.raises(UserModelError, match=r"lonely\.py:1: .*ImportError: attempted relative import"):
        model_module(project / "lonely.py")


@pytest.mark.parametrize(
    ("model", "known"), [("plain.py", {"Own", "Block"}), ("shop.relative:build", {"Block"}), ("", set())]
)
def test_another_process_needs_only_the_document(model: str, known: set[str], project: Path) -> None:
    document = write_code(project.parent, CodeFolder(model=model, env={"REGION": "north"}))
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tidegate.models.user_code.model_source import custom_objects\n"
        "found = custom_objects(Path(sys.argv[1]))\n"
        "print(os.environ.get('REGION'), *sorted(found))\n"
    )
    argv = [sys.executable, "-P", "-c", code, str(document)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    region, *names = done.stdout.split()
    assert region == "north" and known <= set(names)
    assert not list(project.rglob("__pycache__"))


def test_a_second_use_is_free(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    document = write_code(project.parent, CodeFolder())
    assert use_code(document) == use_code(document) and project_document() == document
