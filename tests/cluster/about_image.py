"""Runs inside a container of ours, on Python alone: prints what is in the image, as JSON."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

PACKAGES = (
    "bentoml",
    "boto3",
    "keras",
    "kubernetes",
    "mlflow",
    "onnxruntime",
    "optuna",
    "pip",
    "psycopg2",
    "tensorflow",
)
TOOLS = ("cc", "curl", "gcc", "git", "pip")
FOLDERS = ("/", "/app", "/opt/venv", "/scratch", "/tmp")


def writable(folder: str) -> bool:
    """Tell whether a file can be made there."""
    try:
        (Path(folder) / "probe").touch()
    except OSError:
        return False
    return True


about = {
    "user": os.getuid(),
    "packages": [name for name in PACKAGES if importlib.util.find_spec(name)],
    "tools": [name for name in TOOLS if shutil.which(name)],
    "writable": [folder for folder in FOLDERS if writable(folder)],
    "tag": os.environ["TIDEGATE_IMAGE_TAG"],
    "compiled": all(
        Path(importlib.util.cache_from_source(str(path))).exists() for path in Path("/app").rglob("*.py")
    ),
    "testbed": Path("/app/tidegate/infra/testbed").exists(),
    "caches": [str(path) for path in Path("/").glob("root/.cache/*")],
    "python": sys.prefix,
}
print(json.dumps(about))
