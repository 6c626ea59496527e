"""What images are made of and what they are called: read from the files, nothing is built."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.infra.cluster import images
from tidegate.infra.images.__main__ import commands
from tidegate.infra.images.slim import slim

BUILD = images.ROOT / images.BUILD
DOCKERFILE = (BUILD / "Dockerfile").read_text()
REQUIREMENTS = {name: BUILD / "requirements" / f"{name}.txt" for name in (*images.NAMES, images.GPU)}


def pinned(path: Path) -> dict[str, set[str]]:
    """Return the versions that a requirements file pins, by package."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Copy what the tag depends on, and a little more."""
    for package in images.PACKAGES:
        shutil.copytree(
            images.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    yield tmp_path


def test_base_image_is_an_argument_and_the_user_is_not_root() -> None:
    assert re.search(r"^ARG BASE_IMAGE=python:3\.11-slim$", DOCKERFILE, re.MULTILINE)
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(bases) <= {"${BASE_IMAGE}", *stages}
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["65532:65532"]
    assert "environment" in bases and "USER" in DOCKERFILE.split("AS environment")[1].split("FROM")[0]


def test_nothing_is_installed_that_is_not_pinned() -> None:
    assert DOCKERFILE.count("pip --python") == 1
    for word in ("--require-hashes", "--no-deps", "--no-cache-dir", "--only-binary :all:"):
        assert word in DOCKERFILE
    assert not re.search(r"apt-get|curl|wget|://", DOCKERFILE)


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_have_hashes_and_no_address(name: str) -> None:
    text = REQUIREMENTS[name].read_text()
    for entry in re.split(r"\n(?=[^\s#])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert re.search(r"^[a-z0-9-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_an_image_installs_the_versions_that_tests_run_with(name: str) -> None:
    tested = pinned(images.ROOT / "requirements-dev.txt")
    for package, versions in pinned(REQUIREMENTS[name]).items():
        assert versions <= tested.get(package, versions), package


def test_each_image_has_what_it_is_for_and_no_more() -> None:
    has = {name: pinned(path).keys() for name, path in REQUIREMENTS.items()}
    assert {"bentoml", "onnxruntime", "uvicorn", "uvloop", "orjson"} <= has["serve-onnx"]
    assert not has["serve-onnx"] & {"tensorflow", "tensorflow-cpu", "keras", "mlflow", "boto3", "kubernetes"}
    assert {"tensorflow-cpu", "keras", "bentoml"} <= has["serve-tensorflow"]
    assert {"kubernetes", "boto3", "mlflow-skinny"} <= has["driver"]
    assert not has["driver"] & {"tensorflow", "tensorflow-cpu", "mlflow"}
    assert {"mlflow", "psycopg2-binary", "boto3"} <= has["mlflow"]
    assert {"tensorflow-cpu", "onnxruntime", "bentoml", "boto3", "optuna"} <= has["train"]
    assert {"tensorflow", "nvidia-cudnn-cu12", "jax-cuda12-plugin"} <= has["train-gpu"]
    assert "tensorflow-cpu" not in has["train-gpu"]  # both write the same files


def test_the_tag_follows_the_code(checkout: Path) -> None:
    before = images.digest(checkout)
    assert before == images.digest(images.ROOT)
    for changed in (
        "models/training/fit.py",
        "pipelines/new.py",
        "infra/images/Dockerfile",
        "infra/images/requirements/train.txt",
    ):
        path = checkout / changed
        text = path.read_text() if path.exists() else ""
        path.write_text(text + "\n# changed\n")
        assert images.digest(checkout) != before, changed
        before = images.digest(checkout)


def test_the_tag_does_not_follow_what_is_in_no_image(checkout: Path) -> None:
    before = images.digest(checkout)
    (checkout / "infra/testbed/cluster.py").write_text("")
    (checkout / "models/__pycache__").mkdir()
    (checkout / "models/__pycache__/fit.cpython-311.pyc").write_bytes(b"")
    assert images.digest(checkout) == before


def test_a_pod_is_told_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(images.TAG, raising=False)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*-[0-9a-f]{12}", images.tag())
    assert images.image("host/ml/", "train") == f"host/ml/train:{images.tag()}"
    monkeypatch.setenv(images.TAG, "1.2.3-told")
    assert images.image("host/ml", "driver") == "host/ml/driver:1.2.3-told"


def test_an_unknown_image_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"image is 'tain'; expected one of train, serve-onnx"):
        images.image("host", "tain")


@pytest.mark.parametrize("builder", ["docker", "buildah"])
def test_build_and_push_are_words_that_both_builders_read(builder: str) -> None:
    build, push = commands(builder, "train-gpu", "host/train-gpu:1", base="cuda", push=True)
    assert build[:2] == [builder, "build"] and build[-1] == "."
    assert build[build.index("--target") + 1] == "gpu"
    assert {"IMAGE=train-gpu", "BASE_IMAGE=cuda", f"{images.TAG}={images.tag()}"} <= set(build)
    assert push == [builder, "push", "host/train-gpu:1"]
    (build,) = commands(builder, "driver", "host/driver:1", base=None, push=False)
    assert build[build.index("--target") + 1] == "cpu"
    assert not any(word.startswith("BASE_IMAGE") for word in build)


def test_slim_leaves_what_runs(tmp_path: Path) -> None:
    for name in (
        "kept/__init__.py",
        "kept/test/__init__.py",
        "kept/tests/test_it.py",
        "kept/fast.h",
        "kept/fast.so",
        "numpy/distutils/build.py",
        "pygments/lexers/python.py",
        "pygments/lexers/ruby.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    slim(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    compiled = {path for path in left if path.endswith(".pyc")}
    assert left - compiled == {
        "kept/__init__.py",
        "kept/test/__init__.py",
        "kept/fast.so",
        "pygments/lexers/python.py",
    }
    assert len(compiled) == 3
    first = (tmp_path / min(compiled)).read_bytes()
    assert first[4:8] == b"\x01\0\0\0", "used without a look at its source"


def test_what_a_build_sees_is_our_code_alone() -> None:
    lines = (images.ROOT / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "*",
        *sorted(f"!{package}" for package in images.PACKAGES),
        "**/__pycache__",
        "infra/testbed",
    ]


def test_no_builder_is_an_error_that_says_what_is_needed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tidegate.infra.images", "driver"],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(images.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "expected docker with its daemon, or buildah" in done.stderr
