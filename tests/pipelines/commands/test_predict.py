"""predict at size: every format, a hundred thousand rows, with a server and without; nothing half written."""

import csv
import gzip
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT, Cli
from tests.pipelines.released import deploy
from tidegate.models.data.columns import Columns
from tidegate.models.preprocessing.schema import Field, Target
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import load
from tidegate.serving.inference.predictor import Predictor

MANY = 100_000
GRAY = (Field(name="image", kind="image", dtype="uint8", shape=(8, 8)),)
NUMBERS = tuple(Field(name=name, kind="numeric", dtype="float64") for name in ("width", "height"))
HOMES = (*NUMBERS, Field(name="city", kind="categorical", dtype="str"))
CITIES = np.array(["Oslo", "Rome", None, "7"], object)


def _endpoint(cli: Cli, name: str) -> dict[str, Any]:
    return next(row for row in cli.ok("endpoints") if row["name"] == name)


def _homes(rows: int, seed: int = 0) -> Columns:
    random = np.random.default_rng(seed)
    numbers = {field.name: random.normal(size=rows).round(3) for field in NUMBERS}
    return {**numbers, "city": CITIES[random.integers(0, 4, rows)]}


def _images(rows: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 17, (rows, 8, 8)).astype(np.uint8)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A home with three live endpoints: images (ten classes), homes (two quantities), sizes (three classes)."""
    cli = Cli(tmp_path_factory.mktemp("predict") / "home")
    try:
        ten = Target(names=("label",), task="classification", classes=tuple(range(10)))
        deploy(cli, "images", GRAY, {"image": _images(50)}, ten)
        deploy(cli, "homes", HOMES, _homes(500), Target(names=("price", "tax"), task="regression"))
        three = Target(names=("size",), task="classification", classes=("l", "m", "s"))
        deploy(cli, "sizes", NUMBERS, {name: _homes(50)[name] for name in ("width", "height")}, three)
        yield cli
    finally:
        cli("down")


def _offline(cli: Cli, name: str, columns: Columns) -> NDArray[np.float32]:
    home = Home(cli.home)
    bundle = fetch_bundle(home, load(home.store, name).release(1).bundle)
    return Predictor.of(bundle).predict_columns(columns)


def _peak(cli: Cli, *args: str) -> int:
    """Run a command; the most memory its process held, in MB."""
    code = (
        "import re, sys; from pathlib import Path; from tidegate.pipelines.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1], file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code, *args, "--home", str(cli.home), "--json"]
    done = subprocess.run(
        argv, env=cli.environment(), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) // 1024


def test_a_hundred_thousand_rows_in_bounded_memory_and_as_offline(live: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", image=_images(MANY))
    np.savez(tmp_path / "few.npz", image=_images(8000))
    outputs: dict[str, Any] = {}
    for mode in ((), ("--offline",)):
        few, many = (tmp_path / f"{name}{''.join(mode)}.jsonl" for name in ("few", "many"))
        asked = ("predict", "images", *mode, "--input")
        small = _peak(live, *asked, str(tmp_path / "few.npz"), "--output", str(few))
        large = _peak(live, *asked, str(tmp_path / "many.npz"), "--output", str(many))
        assert large - small < 48, (small, large)
        lines = [json.loads(line) for line in many.read_text().splitlines()]
        outputs["".join(mode)] = np.array([line["probabilities"] for line in lines])
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert outputs[""].shape == (MANY, 10)
    np.testing.assert_allclose(outputs[""], outputs["--offline"], rtol=0, atol=1e-6)


def _write(path: Path, columns: Columns) -> None:
    """The same rows in any of the formats."""
    names, rows = list(columns), list(zip(*(column.tolist() for column in columns.values()), strict=True))
    extra = [{**dict(zip(names, row, strict=True)), "price": 1.0} for row in rows]
    if path.name.endswith((".csv", ".csv.gz")):
        with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as stream:
            writer = csv.DictWriter(stream, [*names, "price"])
            writer.writeheader()
            writer.writerows(extra)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, extra)) + "\n\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps({"rows": [dict(zip(names, row, strict=True)) for row in rows]}))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(extra), path)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **columns)
    else:
        np.save(path, np.stack(list(columns.values()), axis=1))


@pytest.mark.parametrize(
    "name", ["r.csv", "r.csv.gz", "r.jsonl", "r.json", "r.parquet", "r.npz", "r.npy", "f.npy"]
)
def test_every_format_gives_the_same_predictions(live: Cli, tmp_path: Path, name: str) -> None:
    numbers = name.endswith((".npz", ".npy"))
    endpoint = "sizes" if numbers else "homes"
    columns = _homes(2500, seed=3)
    if numbers:
        del columns["city"]
    if name == "f.npy":
        np.save(tmp_path / name, np.stack(list(columns.values()), axis=1).astype(np.float32))
    else:
        _write(tmp_path / name, columns)
    output = tmp_path / "out.csv"
    answer = live.ok("predict", endpoint, "--input", str(tmp_path / name), "--output", str(output))
    assert answer | {"seconds": 0} == {
        "model": endpoint,
        "release": 1,
        "releases": [1],
        "output": str(output),
        "format": "csv",
        "rows": 2500,
        "seconds": 0,
    }
    with output.open(newline="") as stream:
        head, *rows = list(csv.reader(stream))
    expected = _offline(live, endpoint, columns)
    start = {"sizes": ["row", "label", "probability"], "homes": ["row"]}[endpoint]
    assert head == start + (["price", "tax"] if endpoint == "homes" else [f"probability_{c}" for c in "lms"])
    assert [row[0] for row in rows] == [str(number) for number in range(2500)]
    given = np.array([row[len(start) :] for row in rows], float)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5 if name == "f.npy" else 1e-6)


def test_images_and_folders_of_images(live: Cli, tmp_path: Path) -> None:
    pixels = _images(5)
    (tmp_path / "shots" / "deep").mkdir(parents=True)
    files = [tmp_path / "shots" / f"{n}.png" for n in range(4)] + [tmp_path / "shots" / "deep" / "4.png"]
    for image, file in zip(pixels, files, strict=True):
        Image.fromarray(image).save(file)
    large = Image.fromarray(pixels[4]).resize((64, 64), Image.Resampling.NEAREST).convert("RGB")
    large.save(tmp_path / "large.bmp")
    expected = _offline(live, "images", {"image": pixels})
    folder = live.ok(
        "predict", "images", "--input", str(tmp_path / "shots"), "--output", str(tmp_path / "o.jsonl")
    )
    assert folder["rows"] == 5
    lines = {
        (line := json.loads(text)).pop("file"): line
        for text in (tmp_path / "o.jsonl").read_text().splitlines()
    }
    assert list(lines) == sorted(map(str, files))
    for file, row in zip(files, expected, strict=True):
        np.testing.assert_allclose(lines[str(file)]["probabilities"], row, atol=1e-6)
    one = live.ok("predict", "images", "--input", str(files[1]), "--input", str(tmp_path / "large.bmp"))
    np.testing.assert_allclose(one["predictions"][0]["probabilities"], expected[1], atol=1e-6)
    assert set(one) == {"model", "release", "predictions"}
    assert len(one["predictions"]) == 2


@pytest.mark.parametrize("mode", [(), ("--offline",)])
def test_a_failed_chunk_is_named_and_leaves_no_output(
    live: Cli, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    rows: list[Any] = [{"width": n, "height": 1.0} for n in range(5000)]
    rows[3500]["width"] = "wide"
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    output = tmp_path / "old.csv"
    output.write_text("as it was")
    asked = ("predict", "sizes", *mode, "--input", str(tmp_path / "rows.jsonl"))
    ran = live(*asked, "--output", str(output), "--json")
    assert ran.code == 1
    assert "rows 3000 to 3999 (counted from 0)" in ran.stderr
    assert "'width' of row 3500: received the text \"wide\"" in ran.stderr
    assert output.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.csv", "rows.jsonl"]


WRONG = {
    "format alone": (("--format", "csv"), "expected --output FILE"),
    "no suffix": (("--output", "out"), "suffix names no format"),
    "no folder": (("--output", "none/out.csv"), "there is no folder none"),
    "a device": (("--output", "/dev/null", "--format", "csv"), "folder or a device"),
    "several tables": (("--input", "rows.csv", "--input", "rows.csv"), "several image files"),
    "broken line": (("--input", "bad.jsonl"), "line 2 is not JSON"),
    "no images": (("--input", "empty"), "no image is in it"),
    "a picture for numbers": (("--input", "p.png"), "width (numeric)"),
    "wrong width": (("--input", "wide.npy"), "expected 2 numbers per row (width, height)"),
    "a pickle": (("--input", "pickle.npy"), "expected numbers in C order"),
    "an array short": (("--input", "short.npy"), "ends before its last row"),
    "an input missing": (
        ("--input", "rows.csv"),
        "'height' is not a column of the data; the columns are: width",
    ),
    "lengths": (("--input", "lengths.npz"), "width 3, height 2"),
    "no format": (("--input", "notes.txt"), "notes.txt is unknown; expected a suffix such as"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_files_is_told(live: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.csv").write_text("width\n1\n")
    (tmp_path / "bad.jsonl").write_text('{"width": 1, "height": 2}\n{"width"\n')
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "p.png")
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(tmp_path / "short.npy", np.zeros((50, 2)))
    os.truncate(tmp_path / "short.npy", 300)
    np.savez(tmp_path / "lengths.npz", width=np.zeros(3), height=np.zeros(2))
    args, words = WRONG[name]
    ran = live("predict", "sizes", *args, "--json", cwd=tmp_path, stdin='[{"width": 1, "height": 2}]')
    assert ran.code == 2, ran.stderr
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_bundles_folder_needs_no_home_and_no_server(live: Cli, tmp_path: Path) -> None:
    home = Home(live.home)
    folder = fetch_bundle(home, load(home.store, "sizes").release(1).bundle)
    rows = json.dumps([{"width": 1.0, "height": 2.0}])
    alone = Cli(tmp_path / "home", live.env)
    answer = alone.ok("predict", str(folder), "--offline", stdin=rows)
    assert (answer["model"], answer["release"]) == ("sizes", None)
    assert answer["predictions"] == live.ok("predict", "sizes", "--offline", stdin=rows)["predictions"]


def test_a_terminal_shows_a_bar(live: Cli, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((20_000, 2)))
    output = tmp_path / "out.jsonl"
    argv = live.argv("predict", "sizes", "--input", str(tmp_path / "rows.npy"), "--output", str(output))
    master, terminal = pty.openpty()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=terminal, env=live.environment(), cwd=ROOT
    ) as process:
        os.close(terminal)
        seen = b""
        with os.fdopen(master, "rb", 0) as stream:
            try:
                while part := stream.read(4096):
                    seen += part
            except OSError:  # how a terminal ends
                pass
    assert process.returncode == 0
    assert b"/20,000 rows" in seen
    assert b"rows/s" in seen


def test_endpoints_tell_that_the_data_has_moved(live: Cli, tmp_path: Path) -> None:
    moved = _homes(9000) | {"width": np.full(9000, 9.0)}
    _write(tmp_path / "moved.jsonl", moved)
    asked = ("predict", "homes", "--input", str(tmp_path / "moved.jsonl"))
    live.ok(*asked, "--output", str(tmp_path / "o.csv"))
    deadline = time.monotonic() + 30
    while (drift := _endpoint(live, "homes")["drift"])["status"] != "moved" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert drift["status"] == "moved"
    assert drift["features"]["width"] > 0.25
    assert set(drift["predictions"]) == {"price", "tax"}
    assert "moved: " in live("endpoints").stdout
