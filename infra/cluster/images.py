"""The names of our images. The tag identifies their code, so that a cluster cannot run another version than planned."""

import hashlib
import os
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAG = "TIDEGATE_IMAGE_TAG"
NAMES = ("train", "serve-onnx", "serve-tensorflow", "driver", "mlflow")
GPU = "train-gpu"  # several gigabytes, so built only on request
PACKAGES = ("infra", "models", "pipelines", "serving")
BUILD = "infra/images"
DIGITS = 12


def image(prefix: str, name: str) -> str:
    """Return an image's full name.

    Args:
        prefix: registry and folder, such as `registry.example.com/ml`.
        name: one of `NAMES`, or `GPU`.

    Raises:
        ValueError: `name` is not one of our images.
    """
    if name not in (*NAMES, GPU):
        raise ValueError(f"image is {name!r}; expected one of {', '.join((*NAMES, GPU))}")
    return f"{prefix.rstrip('/')}/{name}:{tag()}"


def tag() -> str:
    """Return the tag of the images that contain exactly this code: the version, and a digest of their sources.

    $TIDEGATE_IMAGE_TAG overrides it. The images set that variable; set it too if you build images elsewhere.
    """
    return os.environ.get(TAG) or _computed()


@cache
def _computed() -> str:
    return f"{_version()}-{digest(ROOT)}"


def digest(root: Path) -> str:
    """Return the digest of the sources of the images: our Python files, the Dockerfile and the requirements."""
    found = hashlib.sha256()
    build = root / BUILD
    for path in sorted((*_code(root), build / "Dockerfile", *(build / "requirements").glob("*.txt"))):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:DIGITS]


def _code(root: Path) -> Iterator[Path]:
    testbed = root / "infra" / "testbed"  # in no image, and not in the wheel
    for package in PACKAGES:
        yield from (path for path in (root / package).rglob("*.py") if not path.is_relative_to(testbed))


def _version() -> str:
    try:
        return version("tidegate")
    except PackageNotFoundError:  # a checkout that is not installed
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        return str(project["version"])
