"""A bundle as a bento in BentoML's store, for `bentoml list`, `serve` and `containerize`.

BentoML builds it in a process of its own, from a folder that holds just what the bento will: the files of ours that the
service can reach. That it can be imported there proves that nothing is missing. The store gets it by one rename.
"""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tidegate.models.user_code.code_folder import ENVIRONMENTS, installed_packages
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.import_closure import ROOT, import_closure, imports_in
from tidegate.serving.bundle.own_packages import own_packages
from tidegate.serving.errors import BentoError

SERVICE = "tidegate.serving.server.service:Endpoint"
BUILD = Path(__file__).with_name("bento_build.py")
BUILDING = ".building-"
LONGEST_REASON = 400
# BentoML adds itself. A bento pins the versions that it was built with.
REQUIRED = (
    *(
        "httptools",
        "numpy",
        "orjson",
        "pillow",
        "prometheus-client",
        "pydantic",
        "python-multipart",
        "starlette",
    ),
    *("uvicorn", "uvloop"),
)
REQUIRED_BY = {"onnx": (("onnxruntime",),), "tensorflow": (("tensorflow-cpu", "tensorflow"), ("keras",))}


class BentoBuilder:
    """A process that imports BentoML while its caller does something else, and then builds one bento.

    It ends when it has nothing to build: at the end of the `with` block, or with this process.

    Attributes:
        process: the process.
    """

    def __init__(self) -> None:
        """Start the process."""
        environment = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(BUILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> "BentoBuilder":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def build(self, **asked: Any) -> tuple[int, str]:
        """Build a bento, see `bento_build.py`; return the exit code, and what it wrote to standard error."""
        _, told = self.process.communicate(json.dumps(asked) + "\n")
        return self.process.returncode, told


def build_bento(
    bundle: Path,
    *,
    name: str,
    version: str,
    labels: Mapping[str, str] | None = None,
    builder: BentoBuilder | None = None,
) -> str:
    """Build the bento of a bundle into the store of `$BENTOML_HOME`, return its tag `name:version`.

    It appears complete or not at all, and an existing tag is left as it is: building again after a crash, or twice at
    the same time, is safe. No network is used.

    Args:
        bundle: folder of the bundle.
        name: name of the bento, the endpoint's.
        version: version of the bento.
        labels: any labels, which `bentoml get` shows.
        builder: builds it; default: one that is started now.

    Raises:
        BundleError: the bundle is damaged.
        BentoError: BentoML cannot build it; with the last line of its output.
    """
    tag, final = f"{name}:{version}", _home() / "bentos" / name / version
    if final.exists():
        return tag
    opened = open_bundle(bundle)
    with _building() as folder:
        if not final.exists():
            try:
                _stage(opened, folder / "src")
            except OSError as error:
                raise _not_built(tag, str(error)) from error
            own = [f"{package}=={found}" for package, found in own_packages(opened).items()]
            packages = list(dict.fromkeys([*requirements(opened.manifest.runtime), *own]))
            with builder or BentoBuilder() as started:
                _build(started, folder, name, version, dict(labels or {}), packages)
            final.parent.mkdir(parents=True, exist_ok=True)
            (folder / "bentos" / name / version).rename(final)
            _write_latest(final.parent, version)
    return tag


def bento_size(tag: str) -> int:
    """Bytes of a bento's files; 0 when it is not there."""
    name, _, version = tag.partition(":")
    files = (_home() / "bentos" / name / version).rglob("*") if version else iter(())
    return sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink())


def delete_bento(tag: str) -> bool:
    """Remove a bento from the store; False when it is not there."""
    name, _, version = tag.partition(":")
    folder = _home() / "bentos" / name
    if not version or not (folder / version).exists():
        return False
    with _building() as trash:
        (folder / version).rename(trash / version)
        latest = folder / "latest"
        if latest.exists() and latest.read_text("utf-8").strip() == version:
            latest.unlink()  # BentoML then finds the latest of the others by itself
        if not any(folder.iterdir()):
            folder.rmdir()
    return True


def requirements(runtime: str, required: Sequence[str] = REQUIRED) -> list[str]:
    """The pinned requirements of a serving environment: no TensorFlow where ONNX serves.

    Args:
        runtime: which runtime serves.
        required: packages besides the runtime's.
    """
    choices = [(package,) for package in required] + list(REQUIRED_BY[runtime])
    return [_pinned(packages) for packages in choices]


def _pinned(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return f"{package}=={version(package)}"
        except PackageNotFoundError:
            continue
    raise BentoError(
        f"package {' or '.join(packages)} is not installed here; expected it, to pin the endpoint's "
        "version; run `make setup`"
    )


def _home() -> Path:
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").expanduser()


@contextmanager
def _building() -> Iterator[Path]:
    """A folder on the store's file system, for one process at a time; those of killed processes are removed."""
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in home.glob(f"{BUILDING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=BUILDING, dir=home))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _stage(bundle: Bundle, folder: Path) -> None:
    own = {name for file in bundle.code_files for name in imports_in(file.read_text("utf-8"))}
    for file in import_closure([SERVICE.partition(":")[0], *own]).values():
        target = folder / "tidegate" / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copytree(bundle.folder, folder / "bundle")
    packages = installed_packages(bundle.code) if bundle.code else None
    if packages is not None:  # beside the bundle, where `use_code` looks for them
        shutil.copytree(packages, folder / ENVIRONMENTS / packages.name)


def _build(
    builder: BentoBuilder, folder: Path, name: str, version: str, labels: dict[str, str], packages: list[str]
) -> None:
    # BentoML installs uv from the network if it finds none, but would run it only to lock packages, which are pinned
    # here. So it finds one that does nothing.
    (folder / "bin").mkdir()
    (folder / "bin" / "uv").symlink_to(shutil.which("false") or sys.executable)
    variables = {
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")]),
        "BENTOML_HOME": str(folder),
    }
    code, told = builder.build(
        variables=variables,
        folder=str(folder / "src"),
        service=SERVICE,
        name=name,
        version=version,
        labels=labels,
        packages=packages,
    )
    if code != 0:
        words = told.strip().splitlines()[-1:] or [f"exit code {code}"]
        raise _not_built(f"{name}:{version}", words[0])


def _not_built(tag: str, reason: str) -> BentoError:
    """A copy of many files onto a full disk names each of them: that it is full says it all."""
    if os.strerror(errno.ENOSPC) in reason:
        return BentoError(f"BentoML cannot build {tag}: the disk of {_home()} is full; free some space")
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]} ..."
    return BentoError(
        f"BentoML cannot build {tag}: {reason}; expected a bento in {_home()}; check that the folder is writable"
    )


def _write_latest(folder: Path, version: str) -> None:
    writing = folder.parent / f".latest-{os.getpid()}"
    writing.write_text(version, "utf-8")
    writing.replace(folder / "latest")
