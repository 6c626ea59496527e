"""A project as people have it, from its folder to an endpoint that goes on when the folder is gone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.pipelines.own_code.wheels import project_with_wheels

FILES = {
    "src/shop/__init__.py": "",
    "src/shop/sizes.json": '{"width": 8}',
    "src/shop/net.py": """
import os
from importlib.resources import files
from pathlib import Path

import keras
import numpy as np

from .layers import Scaled
from shop.layers import SIZES

assert os.environ["REGION"] == "north"
assert len(os.environ["WAREHOUSE_PASSWORD"]) == 7
MEANS = np.load(Path(__file__).parents[2] / "tables" / "means.npy")


def build(inputs, outputs, *, depth=1):
    (x,) = inputs.values()
    for _ in range(depth):
        x = Scaled(SIZES["width"])(x)
    return keras.Model(inputs, outputs.layer(x))


if __name__ == "__main__":
    raise SystemExit("a script")
""",
    "src/shop/layers.py": """
import json
import os
from importlib.resources import files

import keras
import tinyone

SIZES = json.loads((files("shop") / "sizes.json").read_text())
assert tinyone.VERSION == "1.2.0"


class Scaled(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.dense = units, keras.layers.Dense(units, activation="relu")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
""",
    "random.py": "raise SystemExit('what hides the standard library was imported')\n",
    "tests/test_net.py": "raise SystemExit('the project\\'s tests were imported')\n",
    "experiment.yaml": """
name: shop
code: {requirements: requirements.txt, env: {REGION: north}, secrets: [warehouse]}
data: {source: people.csv, target: healthy}
model: {function: "shop.net:build", depth: 2}
training: {epochs: 1}
gate: none
serving: {runtime: tensorflow}
""",
}
ROW = {"age": 30, "weight": 120}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    folder = tmp_path_factory.mktemp("shop") / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    project_with_wheels(folder, "tinyone")
    (folder / "tables").mkdir()
    np.save(folder / "tables" / "means.npy", np.zeros(2))
    rows = [f"{20 + row % 50},{100 + 3 * row % 90},{'yes' if row % 3 else 'no'}" for row in range(120)]
    (folder / "people.csv").write_text("\n".join(["age,weight,healthy", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def cli(project: Path) -> Iterator[Cli]:
    cli = Cli(project.parent / "home")
    secret = project.parent / "home" / "secrets" / "warehouse.env"
    secret.parent.mkdir(parents=True)
    secret.write_text("export WAREHOUSE_PASSWORD='hunter2'\n")
    secret.chmod(0o600)
    yield cli
    cli("down")


@pytest.fixture(scope="module")
def submitted(project: Path, cli: Cli) -> dict[str, Any]:
    ran = cli("submit", str(project / "experiment.yaml"), "--json")
    assert ran.code == 0, ran.stderr
    assert "installing what the project requires, once: tinyone 1.2.0, tinytwo 1.5.0" in ran.stderr
    assert "random.py of the project is left out of the run's copy" in ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_plan_shows_what_each_step_reaches(project: Path, cli: Cli, submitted: dict[str, Any]) -> None:
    shown = json.loads(cli("plan", str(project / "experiment.yaml"), "--json").stdout)
    train = next(step for step in shown["steps"] if step["step"] == "train")
    assert shown["run"] == submitted["run"] and all(step["cached"] for step in shown["steps"])
    assert train["files"] == [
        *("src/shop/__init__.py", "src/shop/layers.py", "src/shop/net.py", "src/shop/sizes.json"),
        "tables/means.npy",
    ]
    assert train["packages"].keys() >= {"keras", "numpy"}


def test_the_endpoint_goes_on_without_the_project(project: Path, cli: Cli, submitted: dict[str, Any]) -> None:
    assert submitted["runtime"] == "tensorflow"
    rows = project.parent / "rows.jsonl"
    rows.write_text(json.dumps(ROW) + "\n")
    before = cli("predict", "shop", "--input", str(rows), "--json")
    assert before.code == 0, before.stderr
    shutil.rmtree(project)
    cli("down")
    after = cli("predict", "shop", "--input", str(rows), "--json")
    assert after.code == 0, after.stderr
    assert json.loads(after.stdout) == json.loads(before.stdout)


def test_a_secret_is_kept_nowhere(cli: Cli, submitted: dict[str, Any]) -> None:
    assert submitted["status"] == "done"
    files = [path for path in cli.home.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert files and not [path for path in files if b"hunter2" in path.read_bytes()]
