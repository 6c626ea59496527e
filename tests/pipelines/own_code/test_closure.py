"""Which files of a project a reference reaches: read from the source, by every way of importing and naming."""

from pathlib import Path

import pytest

from tidegate.pipelines.planning.project.closure import closure_of

FILES = {
    "churn/__init__.py": "",
    "churn/features.py": "import pandas\nfrom churn.text import clean\nfrom . import dates\n",
    "churn/text.py": "WORDS = 'words.txt'\n",
    "churn/words.txt": "a\nb\n",
    "churn/dates.py": "from .deep.more import day\nimport os\n",
    "churn/deep/__init__.py": "",
    "churn/deep/more.py": "day = 1\n",
    "churn/net.py": "import keras\n\ndef build():\n    from churn import text\n",
    "churn/by_name.py": "import importlib\nmodule = importlib.import_module('churn.net')\n",
    "churn/all.py": "from churn.starred import *\n",
    "churn/starred/__init__.py": "__all__ = ['one', 'two']\n",
    "churn/starred/one.py": "",
    "churn/starred/three.py": "",
    "churn/assets.py": "from pathlib import Path\nHERE = Path(__file__).parent / 'tables'\n",
    "churn/tables/a.csv": "1\n",
    "churn/tables/deep/b.csv": "1\n",
    "churn/script.py": "from churn import text\nif __name__ == '__main__':\n    from churn import net\n",
    "churn/broken.py": "def f(:\n",
    "spaces/plain.py": "x = 1\n",
    "src/shop/net.py": "from shop.blocks import Block\n",
    "src/shop/blocks.py": "",
    "models/net.py": "from blocks import Block\n",
    "models/blocks.py": "",
    "README.md": "read me\n",
}
FEATURES = {"churn/__init__.py", "churn/features.py", "churn/text.py", "churn/words.txt", "churn/dates.py"}
DEEP = {"churn/deep/__init__.py", "churn/deep/more.py"}
STARRED = {"churn/__init__.py", "churn/all.py", "churn/starred/__init__.py", "churn/starred/one.py"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("project")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return {name: folder / name for name in FILES}


@pytest.mark.parametrize(
    ("module", "reached", "packages"),
    [
        ("churn.features", FEATURES | DEEP, ("pandas",)),
        ("churn.net", {"churn/__init__.py", "churn/net.py", "churn/text.py", "churn/words.txt"}, ("keras",)),
        (
            "churn.by_name",
            {"churn/by_name.py", "churn/net.py", "churn/__init__.py"} | {"churn/text.py", "churn/words.txt"},
            ("keras",),
        ),
        ("churn.all", STARRED, ()),
        (
            "churn.assets",
            {"churn/__init__.py", "churn/assets.py", "churn/tables/a.csv", "churn/tables/deep/b.csv"},
            (),
        ),
        ("churn.script", {"churn/__init__.py", "churn/script.py", "churn/text.py", "churn/words.txt"}, ()),
        ("churn.broken", {"churn/__init__.py", "churn/broken.py"}, ()),
        ("spaces.plain", {"spaces/plain.py"}, ()),
        ("shop.net", {"src/shop/net.py", "src/shop/blocks.py"}, ()),
        ("installed.somewhere", set(), ("installed",)),
    ],
)
def test_what_a_module_reaches(
    module: str, reached: set[str], packages: tuple[str, ...], files: dict[str, Path]
) -> None:
    found = closure_of(files, [module], [], [".", "src"])
    assert set(found.files) == reached
    assert found.packages == packages


def test_the_folder_of_a_model_file_is_a_root_where_its_imports_need_it(files: dict[str, Path]) -> None:
    found = closure_of(files, [], ["models/net.py"], ["."])
    assert (found.files, found.roots) == (("models/blocks.py", "models/net.py"), (".", "models"))
    assert closure_of(files, [], ["churn/text.py"], ["."]).roots == (".",)
