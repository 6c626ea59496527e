"""A trained `.keras` file as an MLflow model, without importing TensorFlow.

The folder is laid out as `mlflow.tensorflow.load_model` and `mlflow.pyfunc` read it.
"""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tidegate.infra.mlflow.spool import Event

DATA, ONNX = "data", "model.onnx"
CONTRACT = "tidegate.json"


def write_model(
    folder: Path,
    event: Event,
    keras_file: Path | None,
    onnx_file: Path | None,
    contract: Mapping[str, Path] | None = None,
    **identity: Any,
) -> None:
    """Write the model of a `model` event as an MLflow model folder.

    Args:
        folder: created here.
        event: `inputs` and `outputs` (list of name, dtype, shape with -1 first), `input_example`
            (name -> rows), `requirements` (pip lines; nothing is inferred).
        keras_file: the model; None for one of another framework, which has an ONNX file only.
        onnx_file: its ONNX export, if there is one; it adds the onnx flavor.
        contract: JSON files by name that say how its inputs are made of raw columns; they become one, CONTRACT.
        identity: `model_id`, `run_id`, `artifact_path` for MLflow's `MLmodel` file.
    """
    from mlflow.models import Model

    folder.mkdir(parents=True)
    model = Model(model_uuid=identity["model_id"], signature=_signature(event), **identity)
    _example(model, event, folder)
    pins = (line.partition("==") for line in event.get("requirements") or [])
    trained_with = {name: version for name, _, version in pins}
    if keras_file:
        _keras(model, folder, keras_file, trained_with)
    if onnx_file:
        _onnx(model, folder, onnx_file, trained_with)
    if contract:
        whole = {name: json.loads(path.read_bytes()) for name, path in contract.items()}
        (folder / CONTRACT).write_text(json.dumps(whole), "utf-8")
    model.add_flavor(
        "python_function",
        loader_module="mlflow.tensorflow" if keras_file else "mlflow.onnx",
        python_version=platform.python_version(),
        data=DATA if keras_file else ONNX,
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    )
    _environment(folder, event.get("requirements") or [])
    model.model_size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    model.save(str(folder / "MLmodel"))


def _signature(event: Event) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(fields: Sequence[dict[str, Any]], named: bool) -> Schema:
        return Schema(
            [
                TensorSpec(np.dtype(field["dtype"]), tuple(field["shape"]), field["name"] if named else None)
                for field in fields
            ]
        )

    return ModelSignature(schema(event["inputs"], True), schema(event["outputs"], False))


def _example(model: Any, event: Event, folder: Path) -> None:
    import numpy as np
    from mlflow.models.utils import _save_example

    rows = event.get("input_example")
    if rows:
        dtypes = {field["name"]: field["dtype"] for field in event["inputs"]}
        _save_example(model, {name: np.asarray(rows[name], dtypes[name]) for name in dtypes}, str(folder))


def _keras(model: Any, folder: Path, keras_file: Path, trained_with: Mapping[str, str]) -> None:
    data = folder / DATA
    data.mkdir()
    shutil.copyfile(keras_file, data / "model.keras")
    (data / "keras_module.txt").write_text("keras")
    (data / "save_format.txt").write_text("tf")  # MLflow's name of every format but h5
    model.add_flavor(
        "tensorflow",
        code=None,
        data=DATA,
        model_type="keras",
        keras_module="keras",
        keras_version=_version("keras", trained_with),
        save_format="tf",
    )


def _onnx(model: Any, folder: Path, onnx_file: Path, trained_with: Mapping[str, str]) -> None:
    shutil.copyfile(onnx_file, folder / ONNX)
    model.add_flavor(
        "onnx",
        onnx_version=_version("onnx", trained_with),
        data=ONNX,
        providers=["CPUExecutionProvider"],
        code=None,
    )


def _version(package: str, trained_with: Mapping[str, str]) -> str:
    """Return the version that the model was trained with; this process may be a driver without Keras."""
    if package in trained_with:
        return trained_with[package]
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _environment(folder: Path, requirements: Sequence[str]) -> None:
    import yaml

    python = platform.python_version()
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": list(requirements)}],
    }
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False))
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))
