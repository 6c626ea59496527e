"""What a project's code needs installed, where neither an index nor this machine's packages are: in pods."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.small_bundles import make_bundle
from tests.pipelines.own_code.wheels import project_with_wheels
from tests.pipelines.state.test_bundles import fetch
from tidegate.models.user_code.code_folder import DOCUMENT, FILES, CodeFolder, write_code
from tidegate.pipelines.planning.project.environment import environment_files, make_environment
from tidegate.pipelines.planning.project.lock import lock_of
from tidegate.pipelines.planning.project.served_packages import image_packages, lacking
from tidegate.pipelines.planning.project.snapshot import keep_archive, keep_snapshot, snapshot_of
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.state.garbage_collection import collect_garbage
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.step_types.code import CodeInputs
from tidegate.serving.bundle.bundle import MANIFEST, open_bundle
from tidegate.serving.bundle.bundle_files import FileEntry, bundle_files
from tidegate.serving.errors import BundleError

NET = "import tinyone\n\ndef build(): return tinyone.VERSION\n"
USE = """
import sys
from pathlib import Path
from tidegate.models.user_code.code_folder import use_code
from tidegate.models.user_code.references import load_reference
use_code(Path(sys.argv[1]))
print(load_reference("shop:build", "model.function")())
"""


def asked(document: Path, home: Path) -> str:
    """What the code says in a process that knows no more than the document and the home."""
    argv = [sys.executable, "-P", "-c", USE, str(document)]
    env = {**os.environ, "TIDEGATE_HOME": str(home)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip()


def with_code(bundle: Path, environment: str) -> Path:
    """The bundle, as if its transform were the user's."""
    (bundle / FILES).mkdir()
    (bundle / FILES / "shop.py").write_text(NET)
    write_code(bundle, CodeFolder(transform="shop:build", environment=environment))
    manifest = json.loads((bundle / MANIFEST).read_text())
    entries = {
        name: FileEntry.of(bundle / name).model_dump() for name in bundle_files(bundle) if name != MANIFEST
    }
    (bundle / MANIFEST).write_text(json.dumps(manifest | {"files": entries}))
    return bundle


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_pod_gets_the_project_and_its_packages_from_the_store(home: Home, tmp_path: Path) -> None:
    file = project_with_wheels(tmp_path, "tinyone")
    lock = lock_of(file, home)
    make_environment(home, lock, file)
    packages = keep_archive(home.store, environment_files(home, lock.digest), "packages.zip")
    files = {"shop.py": tmp_path / "shop.py"}
    files["shop.py"].write_text(NET)
    keep_snapshot(home.store, files, snapshot_of(files))
    code = CodeInputs(
        snapshot=snapshot_of(files), folder=str(tmp_path), environment=lock.digest, packages=packages
    )
    environment = home.path / "environments"
    environment.rename(tmp_path / "away")  # a pod has a home of its own
    (tmp_path / "work").mkdir()
    argv = [sys.executable, "-P", "-c", ENTER, code.model_dump_json(), str(home.path), str(tmp_path / "work")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "1.2.0\n"
    assert asked(tmp_path / "work" / DOCUMENT, home.path) == "1.2.0"


ENTER = """
import sys
from pathlib import Path
from tidegate.models.user_code.references import load_reference
from tidegate.pipelines.state.garbage_collection import collect_garbage
from tidegate.pipelines.state.home import Home, RunRecord
from tidegate.pipelines.step_types.code import CodedInputs
from tidegate.pipelines.steps.project import enter_project
inputs = CodedInputs.model_validate_json('{"code": ' + sys.argv[1] + '}')
enter_project(inputs, Home(Path(sys.argv[2])), Path(sys.argv[3]))
print(load_reference("shop:build", "model.function")())
"""


def test_an_endpoints_pod_gets_packages_beside_the_bundle(home: Home, tmp_path: Path) -> None:
    (tmp_path / "made" / "tinyone").mkdir(parents=True)
    (tmp_path / "made" / "tinyone" / "__init__.py").write_text("VERSION = '1.3.0'\n")
    packages = keep_archive(
        home.store, {"tinyone/__init__.py": tmp_path / "made" / "tinyone" / "__init__.py"}, "packages.zip"
    )
    bundle = with_code(make_bundle(tmp_path / "bundle", "small"), packages.digest)
    digest = keep_bundle(home, bundle, packages)
    (tmp_path / "pod").mkdir()
    done = fetch(digest, tmp_path / "pod" / "release", home.path / "store")
    assert (done.returncode, done.stderr) == (0, "")
    assert asked(tmp_path / "pod" / "release" / DOCUMENT, tmp_path / "none") == "1.3.0"
    assert open_bundle(tmp_path / "pod" / "release").code == tmp_path / "pod" / "release" / DOCUMENT


@pytest.mark.parametrize("name", ["code/extra.py", "code/__pycache__/shop.cpython-311.pyc", "code2/x.py"])
def test_a_bundle_with_more_code_than_it_lists_is_refused(name: str, tmp_path: Path) -> None:
    bundle = with_code(make_bundle(tmp_path / "bundle", "small"), "")
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("x = 1\n")
    with pytest.raises(BundleError, match="which its manifest does not list"):
        open_bundle(bundle)


def test_packages_go_with_the_runs_that_needed_them(home: Home) -> None:
    folder = home.folder_of("shop-1")
    folder.create()
    record = {"run": "shop-1", "name": "shop", "endpoint": "shop", "status": "done", "created": 1.0}
    folder.write(RunRecord(**record, experiment={}))
    folder.call("train-0").write_text(json.dumps({"inputs": {"code": {"environment": "aa"}}}))
    for name in ("aa", "bb"):
        (home.path / "environments" / name).mkdir(parents=True)
    assert collect_garbage(home, 3600.0).names == []
    assert collect_garbage(home, 0.0).names == ["packages bb"]
    assert [path.name for path in (home.path / "environments").iterdir()] == ["aa"]


def test_what_the_serving_image_lacks_comes_with_what_it_requires() -> None:
    names = {one.name.lower() for one in lacking(["scikit-learn", "numpy"], image_packages("serve-onnx"))}
    assert names >= {"scikit-learn", "scipy", "joblib", "threadpoolctl"} - image_packages("serve-onnx")
    assert "scikit-learn" in names and not names & image_packages("serve-onnx")
