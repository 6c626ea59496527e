"""What is wrong with a user's project, in one table: each case ends with a sentence that names file, line and fix."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.models.errors import UserCodeError
from tidegate.models.user_code import importing
from tidegate.models.user_code.model_source import model_module
from tidegate.models.user_code.project import use_project
from tidegate.models.user_code.references import load_reference
from tidegate.pipelines.commands.own_code import check_own_code
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.facts import no_code
from tidegate.pipelines.planning.project import snapshot
from tidegate.pipelines.planning.project.project import project_of
from tidegate.pipelines.state.home import Home

Change = Callable[[Path], object]


def written(name: str, text: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return change


def experiment(folder: Path, **more: Any) -> Experiment:
    document = {"name": "own", "data": {"source": "rows.csv", "target": "y"}}
    document |= {"model": {"function": "churn.net:build"}} | more
    return validate(document, "here").resolved(folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name, text in {
        "rows.csv": "a,y\n1,2\n",
        "churn/__init__.py": "",
        "churn/net.py": "from churn import blocks\n\n\ndef build(inputs, outputs): ...\n",
        "churn/blocks.py": "WIDTH = 8\n",
    }.items():
        written(name, text)(folder)
    return folder


def secret(text: str, mode: int) -> Change:
    def change(folder: Path) -> None:
        path = folder.parent / "home" / "secrets" / "warehouse.env"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(mode)

    return change


SECRETS = {"code": {"secrets": ["warehouse"]}}


def function(reference: str) -> dict[str, Any]:
    return {"model": {"function": reference}}


BEFORE_A_RUN: dict[str, tuple[Change, dict[str, Any], str]] = {
    "no such module": (
        lambda _: 0,
        function("churn.nets:build"),
        r'no module churn\.nets .*did you mean "churn\.net"',
    ),
    "no such package": (
        lambda _: 0,
        function("chrun.net:build"),
        r"model\.function: there is no module chrun\.net",
    ),
    "no such name": (
        lambda _: 0,
        function("churn.net:biuld"),
        r"net\.py has no 'biuld'; did you mean \"build\"",
    ),
    "no reference": (
        lambda _: 0,
        function("churn/net.py:build"),
        r"is no reference; expected package\.module:name",
    ),
    "not Python": (written("churn/blocks.py", "def f(:\n"), {}, r"churn/blocks\.py:1: not Python"),
    "a folder that is none": (lambda _: 0, {"code": {"path": "./nowhere"}}, r"nowhere is no folder"),
    "too large": (
        lambda f: (f / "big.bin").write_bytes(bytes(3 << 20)),
        {},
        r"3\.0 MiB .*largest are big\.bin \(3\.0 MiB\)",
    ),
    "a link out of it": (
        lambda f: (f / "out").symlink_to("/etc/hosts"),
        {},
        r"out is a link to /etc/hosts, outside of",
    ),
    "a folder's link out": (
        lambda f: (f / "out").symlink_to("/etc"),
        {},
        r"out is a link to /etc, outside of",
    ),
    "a broken link": (
        lambda f: (f / "out").symlink_to("/etc/none"),
        {},
        r"out is a link to /etc/none, outside of",
    ),
    "the standard library": (
        lambda f: (
            written("random.py", "")(f),
            written("churn/net.py", "import random\n\ndef build(): ...\n")(f),
        ),
        {},
        r"random\.py of the project hides the module random",
    ),
    "a library that is needed": (
        lambda f: (
            written("keras/__init__.py", "")(f),
            written("churn/net.py", "import keras\n\ndef build(): ...\n")(f),
        ),
        {},
        r"keras/__init__\.py of the project hides the module keras",
    ),
    "a model file elsewhere": (
        written("../other.py", "def build(inputs, outputs): ...\n"),
        {"model": {"file": "../other.py"}, "code": {"path": "."}},
        r"other\.py lies outside of the project",
    ),
    "no secret": (lambda _: 0, SECRETS, r"warehouse\.env: No such file .*mode 0600"),
    "a secret for all": (
        secret("KEY=1\n", 0o644),
        SECRETS,
        r"has mode 0644, so others may read it; .*chmod 600",
    ),
    "a secret without =": (
        secret("KEY=1\nhunter2\n", 0o600),
        SECRETS,
        r"warehouse\.env:2 is no NAME=VALUE line",
    ),
    "requirements that are not there": (
        lambda _: 0,
        {"code": {"requirements": "none.txt"}},
        r"none\.txt cannot be read",
    ),
    "a variable that comes too late": (
        lambda _: 0,
        {"code": {"env": {"TF_ENABLE_ONEDNN_OPTS": "0"}}},
        r"TF_ENABLE_ONEDNN_OPTS is read when Python or TensorFlow starts",
    ),
    "code that nothing uses": (
        lambda _: 0,
        {"model": {"family": "mlp"}, "code": {"requirements": "requirements.txt", "env": {"A": "1"}}},
        r"code has requirements, env, and nothing of a project is used; .*leave code out",
    ),
    "a time with nothing to divide": (
        lambda _: 0,
        {
            "data": {
                "source": "rows.csv",
                "target": "y",
                "split": {"time": "a", "validation": 0, "test": "rows.csv"},
            }
        },
        r"time a is stated, and no rows are left for it to divide",
    ),
    "a variable's name": (lambda _: 0, {"code": {"env": {"A-B": "1"}}}, r"code\.env"),
}


@pytest.mark.parametrize("case", BEFORE_A_RUN)
def test_before_a_run(case: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, more, says = BEFORE_A_RUN[case]
    change(project)
    monkeypatch.setattr(snapshot, "MOST_BYTES", 2 << 20)
    home = Home(project.parent / "home")
    with pytest.raises(UsageError, match=says) as caught:
        wanted = experiment(project, **more)
        check_own_code(wanted, home)
        project_of(wanted, home, no_code(wanted, home))
    assert "hunter2" not in str(caught.value)


WHEN_IMPORTED = {
    "raises": ("x = 1\nraise ValueError('no data')\n", r"churn/net\.py:2: .*raised ValueError: no data"),
    "exits": ("import sys\nsys.exit('usage: net.py FILE')\n", r"churn/net\.py:2: .*raised SystemExit: usage"),
    "lacks a package": ("import a_package_that_is_missing\n", r"churn/net\.py:1: .*ModuleNotFoundError"),
    "imports in a circle": (
        "from churn.circle import B\nA = 1\n",
        r"churn/circle\.py:1: .*ImportError: .*partially initialized module 'churn\.net'",
    ),
    "never ends": (
        "import time\nwhile True:\n    time.sleep(0.01)\n",
        r"churn/net\.py:\d: .*did not end within 0\.2 s",
    ),
    "catches what ends it": (
        "n = 0\nwhile True:\n    try:\n        while True: pass\n    except BaseException:\n        n += 1\n"
        "        if n > 1: raise\n",
        r"churn/net\.py:\d: .*did not end within 0\.2 s",
    ),
    "waits for an answer": (
        "import os\nos.read(os.pipe()[0], 1)\n",
        r"churn/net\.py:2: .*did not end within 0\.2 s",
    ),
}


@pytest.fixture
def imported(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    written("churn/circle.py", "from churn.net import A\nB = 1\n")(project)
    monkeypatch.setattr(importing, "LONGEST_S", 0.2)
    monkeypatch.setattr(importing, "AGAIN_S", 0.1)
    use_project([project])
    yield project
    use_project([])
    for name in [name for name in sys.modules if name.split(".")[0] == "churn"]:
        del sys.modules[name]


@pytest.mark.parametrize("case", WHEN_IMPORTED)
def test_when_it_is_imported(case: str, imported: Path) -> None:
    text, says = WHEN_IMPORTED[case]
    (imported / "churn" / "net.py").write_text(text)
    with pytest.raises(UserCodeError, match=says):
        load_reference("churn.net:build", "model.function")


def test_what_an_import_prints_is_left_alone(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (imported / "churn" / "net.py").write_text(
        "print('hello')\n\ndef build(): ...\n\nif __name__ == '__main__':\n    1 / 0\n"
    )
    assert callable(load_reference("churn.net:build", "model.function"))
    assert capsys.readouterr().out == "hello\n"


def test_a_model_file_that_never_ends_is_told(imported: Path) -> None:
    (imported / "churn" / "net.py").write_text("while True: pass\n")
    with pytest.raises(UserCodeError, match=r"net\.py did not end within 0\.2 s"):
        model_module(imported / "churn" / "net.py")


FORKS = """
import os, sys
from pathlib import Path
from tidegate.models.user_code.project import use_project
from tidegate.models.user_code.references import load_reference
use_project([Path(sys.argv[1])])
load_reference("churn.net:build", "model.function")
print("once", flush=True)
"""


def test_a_copy_that_an_import_forks_ends(project: Path) -> None:
    (project / "churn" / "net.py").write_text("import os\nif not os.fork():\n    x = 1\n\ndef build(): ...\n")
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(project)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "once\n" and "forked this process; the copy ends here" in done.stderr
