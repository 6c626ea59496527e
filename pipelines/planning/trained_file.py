"""Where a trained model is: a file or folder of this machine, or MLflow. It is found and digested; nothing loads it."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidegate.infra.mlflow.artifacts import SCHEMES, download_model
from tidegate.infra.mlflow.model import CONTRACT
from tidegate.infra.store import Ref
from tidegate.infra.store.types import digest_of
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.planning.kept_data import pack
from tidegate.pipelines.state.home import Home

Format = Literal["keras", "onnx", "saved_model"]
SUFFIXES: dict[str, Format] = {".keras": "keras", ".onnx": "onnx"}
SAVED_MODEL = "saved_model.pb"
WEIGHTS = ".weights.h5"
# In MLflow's folder of a model: what can be loaded without running code, the best first.
IN_MLFLOW: dict[str, Format] = {
    "data/model.keras": "keras",
    "model.onnx": "onnx",
    "data/model": "saved_model",
}
# Files that hold code, and what to do instead.
CODE = {
    ".h5": "load it where you trust it, and model.save('model.keras')",
    ".hdf5": "load it where you trust it, and model.save('model.keras')",
    ".pkl": "convert it with skl2onnx to model.onnx",
    ".joblib": "convert it with skl2onnx to model.onnx",
    ".pt": "torch.onnx.export it to model.onnx",
    ".pth": "torch.onnx.export it to model.onnx",
}


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine that steps read from the store, and its content's reference."""

    path: str
    ref: Ref


@dataclass(frozen=True)
class TrainedFile:
    """A trained model: its format, its file (a SavedModel as one zip), and Tidegate's contract, if it has one."""

    format: Format
    model: LocalFile
    contract: LocalFile | None = None


def local_file(path: Path, option: str, name: str | None = None) -> LocalFile:
    """A file and its digest.

    Raises:
        ExperimentError: there is none; names the option.
    """
    if not path.is_file():
        raise ExperimentError(
            f"{option}: {path} is no file; expected one; correct the path, which begins at the experiment file"
        )
    return LocalFile(str(path), Ref(digest=digest_of(path), size=path.stat().st_size, name=name or path.name))


def trained_file(address: str, home: Home, option: str = "model.trained") -> TrainedFile:
    """Find a trained model.

    Args:
        address: an absolute path, or an address of MLflow.
        home: where a SavedModel is packed, and what MLflow has is downloaded to.
        option: of the experiment, for messages.

    Raises:
        ExperimentError: there is none, or of a format that holds code.
        TrackingError: MLflow does not have it.
    """
    if address.startswith(SCHEMES):
        return _of_mlflow(address, home, option)
    path = Path(address)
    if not path.exists():
        raise ExperimentError(
            f"{option}: {path} does not exist; expected a .keras or .onnx file, a SavedModel's folder, models:/… or "
            "runs:/…; correct the path, which begins at the experiment file"
        )
    if (path / SAVED_MODEL).is_file():
        return TrainedFile("saved_model", _packed(path, home))
    if path.is_dir() and (path / "MLmodel").is_file():
        return _in_mlflow(path, home, option, str(path))
    if path.suffix not in SUFFIXES:
        fix = CODE.get(path.suffix, "export it to one of them")
        held = "may hold code, which would run here" if path.suffix in CODE else "is in none of these formats"
        raise ExperimentError(
            f"{option}: {path.name} {held}; expected a .keras or .onnx file, or a SavedModel's folder; {fix}"
        )
    found = SUFFIXES[path.suffix]
    return TrainedFile(found, local_file(path, option, f"model{path.suffix}"))


def _of_mlflow(address: str, home: Home, option: str) -> TrainedFile:
    """Download it again each time: an alias moves. The files are the same where the content is."""
    # Every plan imports this module, and the server's module psutil, which is slow.
    from tidegate.infra.mlflow import server as mlflow_server

    uri = home.target.mlflow if home.target is not None and home.target.mlflow else None
    if uri is None:
        uri = mlflow_server.ensure(home.path)
        if mlflow_server.runs_locally(home.path):
            mlflow_server.wait_ready(uri, home=home.path)
    folder = home.path / "imported" / hashlib.sha256(f"{uri} {address}".encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        found = download_model(uri, address, Path(work))
        return _in_mlflow(found, home, option, address)


def _in_mlflow(folder: Path, home: Home, option: str, address: str) -> TrainedFile:
    for name, format in IN_MLFLOW.items():
        path = folder / name
        if not (path / SAVED_MODEL).is_file() and not path.is_file():
            continue
        model = _packed(path, home) if path.is_dir() else _kept(path, home, f"model{path.suffix}")
        contract = folder / CONTRACT
        return TrainedFile(format, model, _kept(contract, home, CONTRACT) if contract.is_file() else None)
    held = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())[:8]
    raise ExperimentError(
        f"{option}: {address} holds {', '.join(held) or 'nothing'}; expected {', '.join(IN_MLFLOW)}, which are loaded "
        "without running code of the file; log it with mlflow.tensorflow or mlflow.onnx"
    )


def _packed(folder: Path, home: Home) -> LocalFile:
    """A folder as one zip, with the same bytes for the same files."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    with tempfile.TemporaryDirectory(dir=_imported(home)) as work:
        whole = Path(work) / "model.zip"
        pack(files, whole)
        return _kept(whole, home, "model.zip")


def _kept(path: Path, home: Home, name: str) -> LocalFile:
    """The file under its digest, where it stays until the run has put it into the store."""
    digest = digest_of(path)
    kept = _imported(home) / f"{digest}{Path(name).suffix}"
    if not kept.exists():
        kept.write_bytes(path.read_bytes())
    return LocalFile(str(kept), Ref(digest=digest, size=kept.stat().st_size, name=name))


def _imported(home: Home) -> Path:
    folder = home.path / "imported"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
