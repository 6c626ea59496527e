"""A network as a bundle on every runtime; the families' own modules build the networks."""

from pathlib import Path
from typing import Any

from tidegate.models.data.columns import Columns, save_columns
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.models.export.onnx import export_onnx
from tidegate.models.export.onnx_cache import export_cached, has_cache
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import write_bundle
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.inference.parity import describe
from tidegate.serving.inference.predictor import Predictor

RUNTIMES = ("onnx", "tensorflow")


def write_bundles(
    folder: Path,
    name: str,
    schema: Schema,
    transforms: Transforms,
    network: Any,
    columns: Columns,
    sample: list[Any],
    decoding: DecodingSettings,
) -> None:
    """Write `folder/NAME-RUNTIME` for each runtime, and the rows, NAME.npz, beside them.

    Args:
        folder: where they go.
        name: the endpoint's.
        schema: of the rows.
        transforms: raw columns to the network's inputs.
        network: a Keras model.
        columns: raw rows.
        sample: some of them, as a request has them.
        decoding: how texts or boxes are chosen.
    """
    files = {"onnx": folder / f"{name}.onnx", "tensorflow": folder / f"{name}.keras"}
    network.save(files["tensorflow"])
    export_onnx(network, files["onnx"])
    cached = folder / f"{name}-cached.onnx"
    if has_cache(network):
        export_cached(network, cached)
    save_columns(folder / f"{name}.npz", columns)
    drift = folder / f"{name}-drift.json"
    for runtime in RUNTIMES:
        bundle = folder / f"{name}-{runtime}"
        options: dict[str, Any] = {
            "name": name,
            "run": "run",
            "trial": "trial",
            "schema": schema,
            "transforms": transforms,
            "model": files[runtime],
            "runtime": runtime,
            "parity": Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1),
            "sample": sample,
            "versions": {},
            "decoding": decoding,
        }
        if runtime == "onnx" and cached.exists():
            options["cached"] = (cached, options["parity"])
        write_bundle(bundle, **options)
        if runtime == "onnx":
            drift.write_text(describe(Predictor.of(bundle), columns), "utf-8")
        write_bundle(bundle, **options, drift=drift)
