"""The file of a text model that keeps what it has read: proved beside the model, or left out for a reason."""

from pathlib import Path
from typing import Any

from tidegate.pipelines.step_types.package import PackageInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.serving.bundle.measurements import Parity, Runtime

KEPT = "kept.json"


def cache_to_prove(inputs: PackageInputs, context: StepContext, runtime: Runtime) -> dict[str, Any]:
    """The arguments with which `check_parity` compares it; none where there is no file."""
    if runtime != "onnx" or inputs.winner.cached is None:
        return {}
    return {"cached": context.store.fetch(inputs.winner.cached), "kept": context.work / KEPT}


def proved_cache(inputs: PackageInputs, context: StepContext, runtime: Runtime) -> tuple[Path, Parity] | None:
    """The file and how far it differs from the trained model; None if it is not served, which is said."""
    if runtime != "onnx" or inputs.winner.cached is None:
        return None
    kept, why = context.work / KEPT, "it could not be compared with the trained model"
    if kept.exists():
        parity = Parity.model_validate_json(kept.read_bytes())
        if parity.passed:
            near = f"within {parity.max_abs_difference:.2g} of the trained model on {parity.rows} rows"
            print(f"reads each token of a text once, {near}")
            return context.store.fetch(inputs.winner.cached), parity
        why = (
            f"with a cache it differs from the trained model by {parity.max_abs_difference:.3g} on {parity.rows} rows; "
            f"allowed is {parity.tolerance:.3g}"
        )
    print(f"reads a text again for each token: {why}")
    return None
