"""Which edits of a project repeat which steps: a table, planned and not run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.commands.plan import plan
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.planning.facts import gather
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.state.home import Home

PROJECT = {
    "churn/__init__.py": "",
    "churn/features.py": "from churn.text import clean\n\ndef transform(columns): return clean(columns)\n",
    "churn/text.py": "from pathlib import Path\nWORDS = Path(__file__).parent / 'words.txt'\ndef clean(c): return c\n",
    "churn/words.txt": "a\nb\n",
    "churn/net.py": "import numpy\nfrom .blocks import WIDTH\n\ndef build(inputs, outputs): ...\n",
    "churn/blocks.py": "WIDTH = 8\n",
    "churn/report.py": "# nobody imports it\n",
    "random.py": "# a name of the standard library that nobody imports\n",
    "README.md": "read me\n",
    "rows.csv": "a,y\n1,2\n",
    ".gitignore": "ignored/\n",
    "ignored/large.bin": "0",
}
WANTED: dict[str, Any] = {
    "name": "own",
    "data": {"source": "rows.csv", "target": "y", "transform": "churn.features:transform"},
    "model": {"function": "churn.net:build"},
}
EVERYTHING = ["prepare", "train", "select", "package", "deploy", "verify", "promote"]
TRAINING = EVERYTHING[1:]
Edit = Callable[[Path], object]


def appended(name: str, text: str = "# a comment\n") -> Edit:
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


EDITS: dict[str, tuple[Edit, dict[str, Any], list[str]]] = {
    "none": (lambda _: 0, {}, []),
    "a file that nobody imports": (appended("churn/report.py"), {}, []),
    "a page": (appended("README.md"), {}, []),
    "a new file": (lambda folder: (folder / "churn" / "new.py").write_text("x = 1\n"), {}, []),
    "an ignored file": (appended("ignored/large.bin"), {}, []),
    "what hides the standard library": (appended("random.py"), {}, []),
    "the model": (appended("churn/net.py"), {}, TRAINING),
    "what the model imports": (appended("churn/blocks.py"), {}, TRAINING),
    "the transform": (appended("churn/features.py"), {}, EVERYTHING),
    "what the transform imports": (appended("churn/text.py"), {}, EVERYTHING),
    "a file that the transform names": (appended("churn/words.txt"), {}, EVERYTHING),
    "the package": (appended("churn/__init__.py"), {}, EVERYTHING),
    "the data": (appended("rows.csv", "3,4\n"), {}, EVERYTHING),
    "the environment": (lambda _: 0, {"code": {"env": {"TZ": "Europe/Berlin"}}}, EVERYTHING),
    "the name of a secret": (lambda _: 0, {"code": {"secrets": ["warehouse"]}}, []),
}


def written(folder: Path) -> Path:
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def planned(folder: Path, home: Home, **more: Any) -> Plan:
    experiment = validate(WANTED | more, "here").resolved(folder)
    return make_plan(experiment, gather(experiment, home))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_repeats(edit: str, tmp_path: Path) -> None:
    change, more, repeated = EDITS[edit]
    home, folder = Home(tmp_path / "home"), written(tmp_path / "project")
    before = planned(folder, home)
    change(folder)
    after = planned(folder, home, **more)
    keys = {step.key for step in before.steps}
    assert [step.step for step in after.steps if step.key not in keys] == repeated
    assert (before.run == after.run) == (not repeated)


def test_a_copy_elsewhere_is_the_same_run(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    plans = [planned(written(tmp_path / name), home) for name in ("one", "two")]
    assert plans[0].run == plans[1].run
    assert [step.key for step in plans[0].steps] == [step.key for step in plans[1].steps]


def test_the_snapshot_holds_what_git_does_not_ignore_and_no_data(tmp_path: Path) -> None:
    project = planned(written(tmp_path / "project"), Home(tmp_path / "project" / ".tidegate")).facts.project
    assert project is not None
    assert set(project.files) == PROJECT.keys() - {"rows.csv", "ignored/large.bin", "random.py"}
    assert set(project.of("train").packages) == {"numpy"}
    assert project.left_out == {"random.py": "random"}


def test_plan_says_what_is_left_out_and_why(tmp_path: Path) -> None:
    folder = written(tmp_path / "project")
    (folder / "keras").mkdir()
    for name in ("__init__.py", "layers.py"):
        (folder / "keras" / name).write_text("")
    (folder / "experiment.yaml").write_text(json.dumps(WANTED))
    found = plan(Home(tmp_path / "home"), str(folder / "experiment.yaml"))
    assert isinstance(found.data, dict)
    assert found.data["left_out"] == {"keras/": "keras", "random.py": "random"}
    assert "keras/ of the project is left out of the run's copy: it would hide the module keras" in found.text


def test_a_variable_is_in_no_id_by_its_value(tmp_path: Path) -> None:
    plan = planned(written(tmp_path / "project"), Home(tmp_path / "home"), code={"env": {"KEY": "hunter2"}})
    trained = plan.of("train")[0].inputs.model_dump(mode="json", exclude={"prepared", "code"})
    assert "hunter2" not in str(trained)


def test_losses_and_metrics_of_outputs_are_reached(tmp_path: Path) -> None:
    target = {"y": {"loss": "churn.blocks:loss"}, "a": {"metrics": ["churn.report:lift"]}}
    more = {"data": {"source": "rows.csv", "target": target}, "model": {"family": "mlp"}}
    project = planned(written(tmp_path / "project"), Home(tmp_path / "home"), **more).facts.project
    assert project is not None
    assert set(project.of("train").files) == {f"churn/{name}.py" for name in ("__init__", "blocks", "report")}
