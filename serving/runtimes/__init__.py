"""The runtimes that run model files: one module each, found by name.

A runtime is a module with `load(model, code, threads)` that returns a `Run`, `load_before(model, code, threads)` that
returns a `Run` for the parity check or None, and `load_slopes(model, code, threads, specs)` that returns
`explaining.integrated_gradients.PathGradients`. ONNX Runtime's has `load_cached(model, code, threads)`, too, which
returns a `decoding.cache.CachedModel`. To add one, write the module and list it here.
"""

import math
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate.models.decoding.cache import PrefixReader
from tidegate.models.explaining.integrated_gradients import PathGradients
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.serving.errors import ModelLoadError, UntrustedModelError
from tidegate.serving.untrusted import check_model

Run: TypeAlias = Callable[[dict[str, NDArray[Any]]], NDArray[np.float32]]

THREADS = "TIDEGATE_THREADS"  # CPUs that this process may use, where that is stated
RUNTIMES = {
    "onnx": "tidegate.serving.runtimes.onnx",
    "tensorflow": "tidegate.serving.runtimes.tensorflow",
}


def load_model(runtime: str, model: Path, *, code: Path | None = None, threads: int | None = None) -> Run:
    """Load a model file.

    Args:
        runtime: a name of `RUNTIMES`.
        model: the model file.
        code: the experiment's own model file, imported first.
        threads: threads of one prediction; None: the CPUs that this container may use.

    Returns:
        A function of the model's inputs `{name: (n, *shape)}` that returns its raw output, float32 `(n, units)`, of
        several outputs side by side in the order of their names.

    Raises:
        UntrustedModelError: the file is refused; the runtime was not imported.
        ModelLoadError: the file cannot be loaded.
    """
    run: Run = _load(runtime, model, code, "load", threads or available_cpus())
    return run


def load_before(
    runtime: str, model: Path, *, code: Path | None = None, threads: int | None = None
) -> Run | None:
    """Load a model so that it returns what it computes before its last softmax or sigmoid; the file does not change.

    Args:
        runtime, model, code, threads: see `load_model`.

    Returns:
        None if it does not end with one.

    Raises:
        UntrustedModelError, ModelLoadError: see `load_model`.
    """
    run: Run | None = _load(runtime, model, code, "load_before", threads or available_cpus())
    return run


def load_cached(model: Path, *, threads: int | None = None) -> PrefixReader:
    """Load an ONNX file that keeps what it has read, see `export.onnx_cache`; as a `Run` it reads whole texts.

    Raises:
        UntrustedModelError, ModelLoadError: see `load_model`.
    """
    return PrefixReader(_load("onnx", model, None, "load_cached", threads or available_cpus()))


def load_slopes(
    runtime: str,
    model: Path,
    specs: Mapping[str, InputSpec],
    *,
    code: Path | None = None,
    threads: int | None = None,
) -> PathGradients:
    """Load the gradients that explain predictions.

    Args:
        runtime: a name of `RUNTIMES`.
        model: the file, see `Bundle.slopes`.
        specs: of the model inputs.
        code, threads: see `load_model`.

    Raises:
        UntrustedModelError, ModelLoadError: see `load_model`.
    """
    slopes: PathGradients = _load(runtime, model, code, "load_slopes", threads or available_cpus(), specs)
    return slopes


def _load(runtime: str, model: Path, code: Path | None, how: str, *more: Any) -> Any:
    if runtime not in RUNTIMES:
        raise ModelLoadError(f"runtime {runtime!r} is unknown; expected one of {', '.join(RUNTIMES)}")
    try:
        check_model(runtime, model, code)
        return getattr(import_module(RUNTIMES[runtime]), how)(model, code, *more)
    except UntrustedModelError:
        raise
    except Exception as error:  # a model file can make its runtime raise anything
        raise ModelLoadError(
            f"the {runtime} runtime cannot load {model.name}: {type(error).__name__}: {error}; "
            "expected a model that this version of the runtime can read; export it again"
        ) from error


def available_cpus() -> int:
    """How many CPUs this process may use: $TIDEGATE_THREADS, or its affinity and the container's limit (cgroup v2)."""
    if limit := os.environ.get(THREADS):  # a pod's CPU limit, set by Kubernetes
        return max(1, int(limit))
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, math.ceil(int(quota) / int(period))))
