"""The numerical parity check: a served model must predict what the trained one did, from raw rows, in a fresh process.

The same process, which has the model loaded, makes the reference that drift is measured against, and measures whether
batching pays off.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, load_columns, rows_of, take
from tidegate.models.decoding.settings import DecodingSettings, parse_decoding_settings
from tidegate.models.errors import last_line, one_line
from tidegate.models.explaining.integrated_gradients import PathGradients
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.answers import as_answers, scales_of
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import load_probes
from tidegate.serving.bundle.drift_reference import evenly_spaced_rows, make_reference
from tidegate.serving.bundle.measurements import Batching, Parity, Runtime
from tidegate.serving.contract.contract import Contract
from tidegate.serving.errors import ParityError, ServingError
from tidegate.serving.inference.batching import measure as measure_batching
from tidegate.serving.inference.cached_parity import measure_cached
from tidegate.serving.inference.explainer import Explainer
from tidegate.serving.inference.predictor import Predictor, load_transform
from tidegate.serving.inference.probing import measure_probes
from tidegate.serving.runtimes import available_cpus, load_before, load_model, load_slopes

TOLERANCE = 1e-4
FRAMEWORKS = {"tensorflow", "keras", "jax", "torch"}  # what serving by ONNX Runtime does without
BATCH = 1024
# Of the largest attribution: at the edge of a ReLU a rounding may turn a gradient on or off.
EXPLANATION_TOLERANCE = 1e-3
FEW = 32  # rows that batching is measured with
FEW_TEXTS = 128  # training rows that are decoded for the drift reference


def measure(
    predictor: Predictor, columns: Columns, reference: NDArray[np.float32], tolerance: float | None = None
) -> Parity:
    """Compare a predictor with reference predictions.

    Args:
        predictor: of the served model.
        columns: held-out raw rows.
        reference: the trained model's own output for them, `(n, units)` or `(n, classes)`; of texts what
            `text_metrics.token_probabilities` gives, `(n, 2, steps)`, of boxes what the model itself answers.
        tolerance: of the maximum absolute difference; default 1e-4 for probabilities, and for a
            regression and for boxes 1e-4 * max(1, the largest absolute reference). Of several outputs the differences
            of each are taken relative to its own scale, see `answers.scales_of`.

    Raises:
        ParityError: the shapes differ, or there is nothing to compare.
    """
    if predictor.contract.settings is None:
        reference = as_answers(predictor.contract.target_, reference)
    rows = len(reference)
    few = {name: column[:rows] for name, column in columns.items()}
    served = _comparable_output(predictor, few)
    if not rows or served.shape != reference.shape:
        raise ParityError(
            f"the served model answered {served.shape}, the trained one {reference.shape}; expected equal "
            "shapes of at least one row; export the model again"
        )
    unbounded = predictor.contract.task in (
        "regression",
        "detection",
        "reconstruction",
        "forecasting",
        "anomaly",
    )
    scale = max(1.0, float(np.abs(reference).max())) if unbounded else 1.0
    differences = np.abs(served.astype(np.float64) - reference.astype(np.float64))
    if predictor.contract.outputs is not None:
        differences /= scales_of(predictor.contract.target_, reference)
    difference = differences.max()
    return Parity(max_abs_difference=float(difference), tolerance=tolerance or TOLERANCE * scale, rows=rows)


def _comparable_output(predictor: Predictor, columns: Columns) -> NDArray[np.float32]:
    """The output that is compared: the predictions, or what texts and boxes are decoded from."""
    if predictor.contract.decoding is not None:
        return predictor.token_probabilities(columns)
    return _in_batches(
        predictor.raw_output if predictor.contract.detection else predictor.predict_columns,
        columns,
        predictor,
    )


def measure_explained(
    predictor: Predictor,
    slopes: PathGradients,
    columns: Columns,
    reference: Mapping[str, NDArray[np.float32]],
) -> Parity:
    """Compare attributions with those of the trained model.

    Args:
        predictor: of the served model.
        slopes: of the served model.
        columns: held-out raw rows; the first ones are compared.
        reference: the trained model's attributions of them by model input, see `export.onnx_explainer`.
    """
    rows = len(next(iter(reference.values())))
    few = take({entry.name: columns[entry.name] for entry in predictor.contract.inputs}, np.arange(rows))
    explainer = Explainer(predictor.contract, predictor.transforms, slopes)
    found = explainer.explained(few, _predicted(predictor, few)).attributions
    largest = max(float(np.abs(array).max()) for array in reference.values())
    difference = max(float(np.abs(found[name] - array).max()) for name, array in reference.items())
    return Parity(
        max_abs_difference=difference, tolerance=EXPLANATION_TOLERANCE * max(largest, 1e-6), rows=rows
    )


def describe(predictor: Predictor, columns: Columns) -> str:
    """The reference that drift is measured against, as JSON, made from raw training rows."""
    rows = evenly_spaced_rows(columns, rows_of(columns))
    if predictor.contract.decoding is None:
        return make_reference(predictor.contract, rows, _predicted(predictor, rows)).model_dump_json()
    few = take(rows, np.arange(min(FEW_TEXTS, rows_of(rows))))
    return make_reference(predictor.contract, rows, _predicted(predictor, few)).model_dump_json()


def _batching(predictor: Predictor, columns: Columns) -> str:
    if predictor.contract.decoding is not None:  # each request may be decoded in another way
        began = time.perf_counter()
        _predicted(predictor, take(columns, np.arange(1)))
        return Batching(rows=1, speeds={1: 1 / (time.perf_counter() - began)}).model_dump_json()
    names = [entry.name for entry in predictor.contract.inputs]
    few = take({name: columns[name] for name in names}, np.arange(min(FEW, rows_of(columns))))
    return measure_batching(predictor.predict_columns, few, available_cpus()).model_dump_json()


def _predicted(predictor: Predictor, columns: Columns) -> NDArray[np.float32]:
    """Predictions of many rows, a batch at a time."""
    return _in_batches(predictor.predict_columns, columns, predictor)


def _in_batches(
    predict: Callable[[Columns], NDArray[np.float32]], columns: Columns, predictor: Predictor
) -> NDArray[np.float32]:
    names = [entry.name for entry in predictor.contract.inputs]
    parts = [
        predict({name: columns[name][start : start + BATCH] for name in names})
        for start in range(0, rows_of(columns), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def check_parity(
    *,
    model: Path,
    runtime: Runtime,
    schema: Path,
    transforms: Path,
    columns: Path,
    reference: Path,
    code: Path | None = None,
    decoding: DecodingSettings | None = None,
    tolerance: float | None = None,
    training: Path | None = None,
    drift: Path | None = None,
    batching: Path | None = None,
    probes: Path | None = None,
    probed: Path | None = None,
    slopes: Path | None = None,
    attributions: Path | None = None,
    explained: Path | None = None,
    cached: Path | None = None,
    kept: Path | None = None,
) -> Parity:
    """Measure parity in a fresh process.

    Args:
        model: the `.onnx` or `.keras` file.
        runtime: which runtime would serve it.
        schema: JSON file of the schema.
        transforms: JSON file of the transforms.
        columns: held-out raw rows, written by `save_columns`.
        reference: `.npy` file of the trained model's own output for them.
        code: the experiment's own model file.
        decoding: how texts or boxes are chosen, when the model is served.
        tolerance: see `measure`.
        training: raw training rows, written by `save_columns`.
        drift: where to write the reference made from them, see `bundle.drift_reference`; needs `training`.
        batching: where to write what `inference.batching.measure` found, as JSON.
        probes: written by `save_probes` of the trained model; None: only held-out rows are compared.
        probed: where to write what `measure_probes` found, as JSON; needs `probes`.
        slopes: the file that explains predictions, see `Bundle.slopes`; None: they are not explained.
        attributions: the trained model's, see `export.onnx_explainer`; needs `slopes`.
        cached: the file that reads only new tokens, see `export.onnx_cache`; None: there is none.
        kept: where to write how far it differs, a Parity as JSON; needs `cached`.
        explained: where to write how far the attributions differ from those, a Parity as JSON; needs both.

    Raises:
        ParityError: with the reason, when the model cannot be loaded or run.
    """
    argv = [sys.executable, "-P", "-m", "tidegate.serving.inference.parity", "--runtime", runtime]
    files = {"model": model, "schema": schema, "transforms": transforms, "columns": columns}
    files |= {"reference": reference}
    optional = {"code": code, "training": training, "drift": drift, "batching": batching}
    optional |= {"probes": probes, "probed": probed}
    optional |= {"cached": cached, "kept": kept}
    optional |= {"slopes": slopes, "attributions": attributions, "explained": explained}
    for option, path in {**files, **optional}.items():
        argv += [f"--{option}", str(path)] if path is not None else []
    argv += ["--tolerance", repr(tolerance)] if tolerance is not None else []
    argv += ["--decoding", decoding.model_dump_json()] if decoding is not None else []
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        reason = last_line(done.stderr) or f"it ended with code {done.returncode}"
        raise ParityError(f"{model.name} cannot be served by {runtime}: {reason}")
    return Parity.model_validate_json(done.stdout.splitlines()[-1])


def main() -> int:
    """Print the parity as one line of JSON; exit code 1 and one line on stderr when it cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.serving.inference.parity", description=__doc__)
    for name in ("model", "schema", "transforms", "columns", "reference"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--runtime", required=True)
    for name in ("code", "training", "drift", "batching", "probes", "probed"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("slopes", "attributions", "explained", "cached", "kept"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--decoding", type=parse_decoding_settings)
    args = parser.parse_args()
    try:
        schema = Schema.model_validate_json(args.schema.read_bytes())
        transforms = Transforms.from_dict(json.loads(args.transforms.read_text("utf-8")))
        load_transform(transforms, args.code)
        run = load_model(args.runtime, args.model, code=args.code)
        length = transforms.text_target.length if transforms.text_target else 0
        own = transforms.own is not None
        contract = Contract.of(schema, transforms.categories, args.decoding, length, transformed=own)
        predictor = Predictor(contract, transforms, run)
        reference = np.load(args.reference, allow_pickle=False)
        result = measure(predictor, load_columns(args.columns), reference, args.tolerance)
        if args.runtime == "onnx":
            _require_no_framework(transforms)
        if args.probes is not None:
            before = load_before(args.runtime, args.model, code=args.code)
            found = measure_probes(predictor, before, load_probes(args.probes))
            args.probed.write_text(found.model_dump_json(), "utf-8")
        if args.kept is not None:
            columns, probes = load_columns(args.columns), load_probes(args.probes) if args.probes else None
            # Without the result it is not served; whole texts are what was asked for.
            with suppress(ServingError):
                found_kept = measure_cached(predictor, args.cached, columns, reference, probes)
                args.kept.write_text(found_kept.model_dump_json(), "utf-8")
        if args.explained is not None:
            slopes = load_slopes(args.runtime, args.slopes, transforms.input_specs, code=args.code)
            with np.load(args.attributions, allow_pickle=False) as attributions:
                proof = measure_explained(predictor, slopes, load_columns(args.columns), attributions)
            args.explained.write_text(proof.model_dump_json(), "utf-8")
        if args.training is not None:
            args.drift.write_text(describe(predictor, load_columns(args.training)), "utf-8")
        if args.batching is not None:
            args.batching.write_text(_batching(predictor, load_columns(args.columns)), "utf-8")
    except ServingError as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(result.model_dump_json())
    return 0


def _require_no_framework(transforms: Transforms) -> None:
    """Refuse a transform that has imported what an endpoint of ONNX Runtime has not; raises ParityError."""
    found = sorted(FRAMEWORKS & sys.modules.keys())
    if transforms.own is not None and found:
        raise ParityError(
            f"{transforms.own.what} imports {found[0]}, which an endpoint without TensorFlow does not have; expected "
            "NumPy, pandas and the like; keep the transform in a module that does not import the model's"
        )


if __name__ == "__main__":
    sys.exit(main())
