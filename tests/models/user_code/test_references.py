"""References into a project: imported from its folder, and every error names its file and line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.models.errors import UserCodeError
from tidegate.models.user_code.project import use_project
from tidegate.models.user_code.references import is_reference, load_reference, user_code


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    """A project whose package is called like one of ours."""
    package = tmp_path / "models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("class Net:\n    def make(self):\n        return 1 / 0\n")
    (package / "broken.py").write_text("x = 1\nraise ValueError('no data')\n")
    (package / "typo.py").write_text("def f(:\n")
    (package / "needs.py").write_text("import a_package_that_is_missing\n")
    use_project([tmp_path])
    yield tmp_path
    use_project([])
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        del sys.modules[name]


@pytest.mark.parametrize("text", ["a:b", "a.b.c:d", "a.b:C.make"])
def test_a_reference_has_module_and_name(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize("text", ["a", "a:", ":b", "a.b", "./a.py:b", "1a:b", 3, None])
def test_other_texts_are_none(text: object) -> None:
    assert not is_reference(text)


def test_it_is_imported_from_the_project() -> None:
    assert load_reference("models.net:Net.make", "model.function").__name__ == "make"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.net:Net", "model.function: there is no module nowhere for 'nowhere.net:Net'"),
        ("models.nit:Net", "there is no module models.nit"),
        ("models.net:Nett", "models.net has no 'Nett'; did you mean Net?"),
        (
            "models.broken:f",
            "models/broken.py:2: model.function: importing models.broken raised ValueError: no data",
        ),
        ("models.typo:f", "syntax error"),
        (
            "models.needs:f",
            "models/needs.py:1: model.function: importing models.needs raised ModuleNotFoundError",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        load_reference(text, "model.function")
    assert said in str(raised.value)


def test_a_call_that_raises_names_the_line() -> None:
    net = load_reference("models.net:Net", "model.function")
    with (
        pytest.raises(
            UserCodeError, match=r"^models/net.py:3: model.function: calling models.net:Net raised Zero"
        ),
        user_code("model.function: calling models.net:Net"),
    ):
        net().make()
