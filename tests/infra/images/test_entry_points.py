"""What runs in an image imports only what that image installs."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from tidegate.infra.cluster.images import BUILD, ROOT

ENTRY_POINTS = [
    ("driver", "tidegate.pipelines.driver.job"),
    ("driver", "tidegate.pipelines.driver.tell"),
    ("driver", "tidegate.pipelines.driver.mlflow_sync"),
    ("driver", "tidegate.pipelines.promotion.job"),
    ("driver", "tidegate.pipelines.commands.schedules.scheduler"),
    ("driver", "tidegate.pipelines.state.bundles"),
    ("mlflow", "tidegate.infra.mlflow.cluster_server"),
    ("serve-onnx", "tidegate.serving.server.__main__"),
    ("serve-onnx", "tidegate.serving.server.service"),
    ("serve-onnx", "tidegate.serving.runtimes.onnx"),
    ("train", "tidegate.pipelines.executors.worker"),
    ("train", "tidegate.pipelines.sharded_prediction.worker"),
]
IMPORT = """import sys
from importlib.abc import MetaPathFinder

class Lacking(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in LACKING:
            raise ModuleNotFoundError(f"{name} is not in the image")

LACKING = set(sys.argv[2:])
sys.meta_path.insert(0, Lacking())
__import__(sys.argv[1])"""


def lacking(image: str) -> list[str]:
    """The top-level packages that are installed here and not in an image."""
    pinned = re.findall(
        r"^([a-z0-9-]+)==", (ROOT / BUILD / "requirements" / f"{image}.txt").read_text(), re.MULTILINE
    )
    known = {*pinned, "tidegate", "tensorflow"}  # the locks have tensorflow-cpu in its place
    return [
        package
        for package, distributions in packages_distributions().items()
        if not known & {name.lower().replace("_", "-").replace(".", "-") for name in distributions}
    ]


@pytest.mark.parametrize(("image", "module"), ENTRY_POINTS)
def test_an_image_has_what_its_program_imports(image: str, module: str) -> None:
    argv = [sys.executable, "-P", "-W", "ignore", "-c", IMPORT, module, *lacking(image)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1:]
