"""A bundle becomes a real bento: whole, pinned, buildable twice, and served by BentoML itself."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidegate.serving.bundle.bento import BentoBuilder, build_bento, delete_bento, requirements
from tidegate.serving.bundle.bundle import open_bundle

ROOT = str(Path(__file__).resolve().parents[3])
BUILD = "import sys; from pathlib import Path; from tidegate.serving.bundle.bento import build_bento\n" + (
    "print(build_bento(Path(sys.argv[1]), name='digits', version='v1'))"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / ".hidden" / "bentoml"))
    return tmp_path / ".hidden" / "bentoml"


@pytest.fixture
def building(images: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Returns a function that starts a build in a process (group) of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": ROOT}
        argv = [sys.executable, "-c", BUILD, str(images)]
        process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_builder_that_gets_nothing_to_build_ends(home: Path) -> None:
    with BentoBuilder() as builder:
        process = builder.process
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL
    with BentoBuilder() as alone:
        alone.process.communicate(timeout=120)  # closes its standard input, as when its caller is killed
        assert alone.process.returncode == 0
    assert not home.exists()


def test_a_bento_is_built_once_and_deleted(images: Path, home: Path) -> None:
    tag = build_bento(images, name="digits", version="v1", labels={"run": "run-1"})
    assert tag == "digits:v1"
    folder = home / "bentos" / "digits" / "v1"
    stamp = (folder / "bento.yaml").stat().st_mtime_ns
    assert build_bento(images, name="digits", version="v1") == tag
    assert (folder / "bento.yaml").stat().st_mtime_ns == stamp
    assert open_bundle(folder / "src" / "bundle").manifest == open_bundle(images).manifest
    text = (folder / "env" / "python" / "requirements.txt").read_text()
    assert "onnxruntime==" in text
    assert "tensorflow" not in text
    assert "keras" not in text
    dockerfile = (folder / "env" / "docker" / "Dockerfile").read_text()
    assert "FROM python:3." in dockerfile
    assert "uv --directory $INSTALL_ROOT pip install -r" in dockerfile
    assert delete_bento(tag)
    assert not delete_bento(tag)
    assert [path.name for path in home.iterdir() if path.name.startswith("building")] == []
    assert not (home / "bentos" / "digits").exists()


def test_a_bento_carries_what_its_service_reaches_and_nothing_else(images: Path, home: Path) -> None:
    build_bento(images, name="digits", version="v1")
    source = home / "bentos" / "digits" / "v1" / "src" / "tidegate"
    carried = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert {"__init__.py", "serving/server/service.py", "models/preprocessing/transforms.py"} <= carried
    assert {path.partition("/")[0] for path in carried} == {"__init__.py", "models", "serving"}
    rooms = {path.split("/")[1] for path in carried if path.startswith("models/") and path.count("/") == 2}
    assert rooms == {
        "config",
        "data",
        "decoding",
        "evaluation",
        "explaining",
        "networks",
        "preprocessing",
        "probing",
        "user_code",
    }


def test_the_tensorflow_runtime_requires_tensorflow() -> None:
    assert any(line.startswith("tensorflow") for line in requirements("tensorflow"))
    assert not any(line.startswith("onnxruntime") for line in requirements("tensorflow"))


def test_two_builds_at_once_and_one_killed_in_the_middle(
    building: Callable[[], subprocess.Popen[str]], home: Path
) -> None:
    killed = building()
    deadline = time.monotonic() + 30
    while not list(home.glob(".building-*/src/bundle")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    assert not (home / "bentos" / "digits" / "v1").exists()
    both = [building(), building()]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["digits:v1", "digits:v1"]
    assert (home / "bentos" / "digits" / "v1" / "bento.yaml").exists()
    assert list(home.glob(".building-*")) == []


def test_bentoml_lists_and_serves_it(images: Path, tmp_path: Path, free_port: int) -> None:
    tag = build_bento(images, name="digits", version="v1")
    bentoml = [sys.executable, "-m", "bentoml"]
    # Whatever else is installed as tidegate: a bento is served by the code it carries.
    (tmp_path / "other" / "tidegate").mkdir(parents=True)
    (tmp_path / "other" / "tidegate" / "__init__.py").write_text("raise ImportError('not the bento's own')\n")
    environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(tmp_path / "other")}
    listed = subprocess.run(
        [*bentoml, "list", "-o", "json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [entry["tag"] for entry in json.loads(listed.stdout)] == [tag]
    serve = subprocess.Popen(
        [*bentoml, "serve", tag, "--host", "127.0.0.1", "--port", str(free_port)],
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert _predict(f"http://127.0.0.1:{free_port}", open_bundle(images).sample)["model"] == "digits"
    finally:
        os.killpg(serve.pid, signal.SIGTERM)
        serve.wait(30)


def _predict(url: str, rows: list[object]) -> dict[str, object]:
    body = json.dumps({"rows": rows}).encode()
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/predict", body, timeout=10) as response:
                return dict(json.loads(response.read()))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
