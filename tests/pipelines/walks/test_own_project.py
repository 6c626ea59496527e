"""Tidegate in a user's own project, which has packages of the names that our own folders have."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli

OWN = ("models", "serving", "pipelines", "infra", "tests")
RAISES = 'raise SystemExit("the user\'s own package was imported")\n'
MODEL = """import json
from pathlib import Path

import keras

import tidegate


def build(inputs, outputs):
    assert tidegate.__version__
    width = json.loads((Path("FOLDER") / ("sizes" + ".json")).read_text())["width"]
    (x,) = inputs.values()
    return keras.Model(inputs, outputs.layer(keras.layers.Dense(width, activation="relu")(x)))
"""
EXPERIMENT = """
name: own-project
data: {source: DATA, target: healthy}
model: {file: MODEL}
training: {epochs: 1}
gate: none
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a package of each name, a model file in one of them, and a file of data."""
    root = tmp_path_factory.mktemp("project")
    for name in OWN:
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(RAISES)
        (root / name / "data.py").write_text(RAISES)
    (root / "sizes.json").write_text('{"width": 8}')
    (root / "models" / "my_model.py").write_text(MODEL.replace("FOLDER", str(root)))
    rows = [f"{20 + row % 50},{100 + 3 * row % 90},{'yes' if row % 3 else 'no'}" for row in range(120)]
    (root / "people.csv").write_text("\n".join(["age,weight,healthy", *rows]) + "\n")
    (root / "below").mkdir()
    for folder, up in ((root, "."), (root / "below", "..")):
        text = EXPERIMENT.replace("DATA", f"{up}/people.csv").replace("MODEL", f"{up}/models/my_model.py")
        (folder / "experiment.yaml").write_text(text)
    return root


@pytest.fixture(scope="module")
def own(project: Path) -> Iterator[Cli]:
    """Both submits share a home, so the second finds its steps done."""
    cli = Cli(project / "home")
    yield cli
    cli("down")


@pytest.mark.parametrize("folder", [".", "below"])
def test_a_project_with_packages_of_our_folders_names_submits(folder: str, project: Path, own: Cli) -> None:
    ran = own("submit", "experiment.yaml", "--json", cwd=project / folder)
    assert ran.code == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["status"] == "done" and answer["runtime"] == "onnx"
    assert "own package was imported" not in ran.stdout + ran.stderr


def test_a_change_of_what_the_model_file_reads_trains_again(project: Path, own: Cli) -> None:
    before = json.loads(own("plan", "experiment.yaml", "--json", cwd=project).stdout)
    assert before["changed_files"] == [] and all(step["cached"] for step in before["steps"])
    (project / "sizes.json").write_text('{"width": 16}')
    after = json.loads(own("plan", "experiment.yaml", "--json", cwd=project).stdout)
    assert after["changed_files"] == [str(project / "sizes.json")] and after["run"] != before["run"]
    assert [step["step"] for step in after["steps"] if step["cached"]] == ["prepare"]


def test_a_family_learns_from_what_a_transform_returns(tmp_path: Path, own: Cli) -> None:
    """Training reaches nothing of the project then, and imports the transform all the same."""
    (tmp_path / "features.py").write_text(
        "def ages(columns):\n    return {'decades': columns['age'] / 10, 'weight': columns['weight'] * 1.0}\n"
    )
    rows = [f"{20 + row % 50},{100 + 3 * row % 90},{'yes' if row % 3 else 'no'}" for row in range(120)]
    (tmp_path / "people.csv").write_text("\n".join(["age,weight,healthy", *rows]) + "\n")
    (tmp_path / "experiment.yaml").write_text(
        "name: transformed\n"
        "data: {source: ./people.csv, target: healthy, transform: 'features:ages'}\n"
        "model: {family: mlp}\ntraining: {epochs: 1}\ngate: none\n"
    )
    ran = own("submit", "experiment.yaml", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.stderr
