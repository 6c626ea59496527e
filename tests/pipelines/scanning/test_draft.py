"""An experiment file for somebody's project: what it finds, what it is unsure of, and that it can be planned."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import tidegate
from tidegate.pipelines.commands.init import init
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.spec import Model

NET = """
    import keras

    raise SystemExit("nothing of a project is run by init")

    def make_model(segments: int, width: int = 32) -> keras.Model:
        inputs = keras.Input((), name="visits")
        return keras.Model(inputs, keras.layers.Dense(1)(inputs))
"""
FEATURES = """
    SEGMENTS = ["consumer", "enterprise", "student"]

    def build_features(frame: "pd.DataFrame") -> dict:
        return {"visits": frame["visits"].to_numpy(), "segment": frame["segment"].to_numpy()}
"""
TRAIN = """
    import pandas as pd
    from shop.features import SEGMENTS, build_features
    from shop.models.net import make_model

    def main():
        frame = pd.read_parquet("data/2025")
        x, y = build_features(frame), frame["left"].astype("float32").to_numpy()
        model = make_model(len(SEGMENTS))
        model.compile(keras.optimizers.SGD(1e-2), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
        stop = keras.callbacks.EarlyStopping("val_auc", patience=4)
        model.fit(x, y, epochs=12, batch_size=64, callbacks=[stop])
"""


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text))
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project as people have it: a package, a script, and a table a month."""
    files = {"shop/models/net.py": NET, "shop/features.py": FEATURES, "shop/train.py": TRAIN}
    files |= dict.fromkeys(("shop/__init__.py", "shop/models/__init__.py"), "")
    files |= {
        "requirements.txt": "",
        ".venv/lib/x.py": NET,
        "notes/broken.py": "def build(:",
        "test_shop.py": NET,
    }
    folder = _write(tmp_path / "My Shop", files)
    (folder / "data/2025").mkdir(parents=True)
    for month in (1, 2, 3):
        rows = {
            "customer": [month],
            "signup": [datetime(2025, month, 1)],
            "segment": ["student"],
            "amount": [Decimal("1.50")],
            "visits": [3],
            "left": [True],
            "note": [""],
        }
        pq.write_table(pa.table(rows), folder / f"data/2025/2025-{month:02d}.parquet")
    return folder


def _drafted(project: Path, folder: Path | None = None) -> tuple[dict[str, Any], str, list[str]]:
    data = init(None if folder is None else str(folder), str(project)).data
    text = Path(data["files"][0]).read_text()
    return yaml.safe_load(text), text, data["unsure"]


def test_a_project_as_people_have_it(shop: Path) -> None:
    document, text, _ = _drafted(shop)
    assert document["name"] == "my-shop"
    assert document["data"]["source"] == "./data/2025"
    assert document["data"]["target"] == "left"
    assert document["model"] == {"function": "shop.models.net:make_model", "segments": 3}
    assert document["training"] == {
        "epochs": 12,
        "batch_size": 64,
        "optimizer": {"name": "sgd", "learning_rate": 0.01},
        "loss": "binary_crossentropy",
        "metrics": ["auc"],
        "early_stopping": {"monitor": "val_auc", "patience": 4},
    }
    assert "3 parquet: customer, signup, segment, amount, visits, …" in text
    assert "# split: {time: signup, test: 0.2}" in text
    assert "# width: 32" in text
    assert document["data"]["transform"] == "shop.features:build_features"
    assert document["code"] == {"requirements": "requirements.txt"}


def test_what_is_written_can_be_planned(shop: Path, tmp_path: Path) -> None:
    _drafted(shop)
    planned = tidegate.plan(shop, home=tmp_path / "home")
    assert (planned.format, planned.trials) == ("parquet", 1)


def test_a_file_elsewhere_names_the_project(shop: Path, tmp_path: Path) -> None:
    document, _, _ = _drafted(shop, tmp_path / "experiments")
    assert document["code"]["path"] == "../My Shop"
    assert document["data"]["source"] == "../My Shop/data/2025"
    assert tidegate.plan(tmp_path / "experiments", home=tmp_path / "home").format == "parquet"


def test_train_and_test_files_and_a_subclassed_model(tmp_path: Path) -> None:
    net = """
        import keras

        class Net(keras.Model):
            def call(self, x):
                return x

        def network(inputs, outputs, *, units=8):
            model = Net()
            model.compile("sgd", "mse")
            return model
    """
    rows = "age,class\n" + "3,yes\n" * 5
    files = {"src/net/core.py": net, "src/net/__init__.py": "", "train.csv": rows * 2, "test.csv": rows}
    document, text, unsure = _drafted(_write(tmp_path / "p", files))
    assert document["data"] == {"source": "./train.csv", "target": "class", "split": {"test": "./test.csv"}}
    assert document["model"] == {"function": "net.core:network"}
    assert "training" not in document  # what build() compiles is its own
    assert unsure == ["by its name; or age"] and "# unsure: by its name; or age" in text


def test_a_project_that_loads_its_data_itself(tmp_path: Path) -> None:
    data = """
        import numpy as np

        def load_games(folder, year):
            return dict(np.load(folder + "/games.bin", allow_pickle=True))
    """
    main = """
        from games.data import load_games
        import sqlite3

        columns = load_games("raw", 2025)
        y = columns["won"]
    """
    files = {"games/data.py": data, "games/__init__.py": "", "games/main.py": main, "raw/games.bin": ""}
    document, _, unsure = _drafted(_write(tmp_path / "games", files))
    assert document["data"]["load"] == "games.data:load_games"
    assert (document["data"]["source"], document["data"]["options"]) == ("raw", {"year": 2025})
    assert document["data"]["target"] == "won"
    assert "games/data.py:4 gives the rows" in unsure[0]


def test_a_script_that_trains_when_it_is_imported(tmp_path: Path) -> None:
    script = """
        import keras, pandas as pd

        table = pd.read_csv("rows.csv")
        y = table.pop("quality")

        def get_model():
            return keras.Sequential([keras.layers.Dense(1)])

        model = get_model()
        model.compile(loss="mse", optimizer="sgd")
        model.fit(table, y, epochs=3)
    """
    document, _, unsure = _drafted(
        _write(tmp_path / "p", {"train.py": script, "rows.csv": "a;quality\n1;2\n"})
    )
    assert (document["model"], document["data"]["target"]) == ({"function": "train:get_model"}, "quality")
    assert document["training"] == {"epochs": 3, "optimizer": "sgd", "loss": "mse"}
    assert unsure == [
        "train.py:7; an import of that file trains; put the function into a file of its own",
    ]


def test_a_trained_model_and_two_tables(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": "[tool.ruff]",
        "net.onnx": "",
        "small.csv": "a,b\n1,2\n",
        "large.csv": "a,price\n" + "1,2\n" * 9,
    }
    document, text, _ = _drafted(_write(tmp_path / "p", files))
    assert (document["data"]["source"], document["data"]["target"]) == ("./large.csv", "price")
    assert "# source: ./small.csv" in text and "code" not in document
    if "trained" in Model.model_fields:
        assert document["model"] == {"trained": "./net.onnx"}


@pytest.mark.parametrize(
    ("other", "format", "target", "family"),
    [
        ("masks", "masks", {"name": "mask", "kind": "mask"}, "unet"),
        ("drawings", "image_folder", "label", "mlp"),
    ],
)
def test_images_beside_their_masks_are_no_classes(
    other: str, format: str, target: Any, family: str, tmp_path: Path
) -> None:
    files = {"train.py": "", "data/land/images/a.png": "", f"data/land/{other}/a.png": ""}
    document, text, _ = _drafted(_write(tmp_path / "p", files))
    assert (document["data"]["source"], document["data"]["target"]) == ("./data/land", target)
    assert f"2 {format}" in text and document["model"] == {"family": family}


def test_an_empty_project_and_hostile_names(tmp_path: Path) -> None:
    document, _, unsure = _drafted(_write(tmp_path / "empty", {"a.txt": ""}))
    assert document["model"] == {"family": "mlp"} and document["data"]["source"] == "./data"
    assert len(unsure) == 3
    folder = _write(tmp_path / "hostile", {"x.py": "(" * 5000, "dev.md": ""})
    pq.write_table(pa.table({"a\nname: other": [1], "on": [2]}), folder / "rows: #1.parquet")
    document, _, _ = _drafted(folder)
    assert document["name"] == "hostile"
    assert (document["data"]["source"], document["data"]["target"]) == ("./rows: #1.parquet", "on")


def test_nothing_is_replaced(shop: Path, tmp_path: Path) -> None:
    (shop / "experiment.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"already has experiment\.yaml; expected none of them"):
        init(None, str(shop))
    assert (shop / "experiment.yaml").read_text() == "mine"
    with pytest.raises(UsageError, match="is no folder; expected a project's"):
        init(None, str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="init received no folder; expected DIR, or --from PROJECT"):
        init(None)
