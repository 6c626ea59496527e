"""Loads the release that a server serves: its bundle, warmed up, and all that goes with it."""

import os
import time
from functools import cache
from pathlib import Path

from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.measurements import INLINE_SECONDS
from tidegate.serving.dialects import ServedModel
from tidegate.serving.inference.engine import InferenceEngine, Latency
from tidegate.serving.inference.explainer import Explainer
from tidegate.serving.inference.golden import Golden
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.monitoring.drift import Drift
from tidegate.serving.runtimes import available_cpus

BUNDLE, NAME, RELEASE = "TIDEGATE_BUNDLE", "TIDEGATE_NAME", "TIDEGATE_RELEASE"
TRUSTED = "TIDEGATE_TRUSTED_KEYS"  # a folder of public keys, of which one must have signed the bundle
# Predictions to warm up with; fewer are enough when they have taken this many seconds.
WARM_UP_RUNS, WARM_UP_SECONDS = 5, 0.2


def served_bundle() -> Bundle:
    """Open the bundle of this process: `$TIDEGATE_BUNDLE`, or the `bundle` folder next to the bento's code.

    Raises:
        BundleError: it is not one, or damaged, or not signed as `$TIDEGATE_TRUSTED_KEYS` asks for.
    """
    return _open_once(Path(os.environ.get(BUNDLE) or Path(__file__).resolve().parents[3] / "bundle"))


@cache  # before processes are forked, and in each of them
def _open_once(folder: Path) -> Bundle:
    bundle, trusted = open_bundle(folder), os.environ.get(TRUSTED)
    if trusted:
        from tidegate.serving.bundle.trust import check_trusted  # an endpoint without signatures does without

        check_trusted(bundle, Path(trusted))
    return bundle


@cache
def load_engine() -> InferenceEngine:
    """Load the one release of this process, see `served_bundle`.

    Raises:
        BundleError, ModelLoadError, PredictionError: it cannot be served.
        ProofError: it does not answer its golden rows here as the trained model did.
    """
    bundle = served_bundle()
    number = os.environ.get(RELEASE)
    predictor, latency = _load_fastest(bundle)
    golden = Golden.of(bundle, predictor, latency.one_row)
    proof = None if golden is None else golden.prove()
    name = os.environ.get(NAME) or bundle.manifest.name
    served = ServedModel(name, int(number) if number else None, predictor.contract)
    batching = bundle.manifest.batching  # measured when it was packaged; an older bundle has none
    batch = batching.rows if batching else 1
    explainer = Explainer.of(bundle, max(1, available_cpus() - 1))  # one is left for predictions
    engine = InferenceEngine(predictor, served, latency, bundle.sample, batch=batch, explainer=explainer)
    engine.golden, engine.proof = golden, proof
    if bundle.reference is not None:
        drift = Drift(bundle.reference, served.contract, served.name, served.release)
        engine.observer = drift
        engine.metrics.add("drift", drift)
    return engine


def _load_fastest(bundle: Bundle) -> tuple[Predictor, Latency]:
    """Load with one thread where it predicts a row faster than others could be woken, else with all CPUs."""
    if bundle.contract.decoding is not None:
        predictor = Predictor.of(bundle, available_cpus())
        began = time.perf_counter()
        predictor.predict_rows(bundle.sample[:1])
        taken = time.perf_counter() - began
        return predictor, Latency(taken, taken)
    for threads in (1, available_cpus()) if bundle.manifest.runtime == "onnx" else (available_cpus(),):
        predictor = Predictor.of(bundle, threads)
        latency = _warm_up(predictor, bundle.sample)
        if latency.one_row <= INLINE_SECONDS:
            break
    return predictor, latency


def _warm_up(predictor: Predictor, rows: list[object]) -> Latency:
    """Warm up and measure: the fastest of a few predictions counts, as the others had to wait for something."""

    def seconds(rows: list[object]) -> float:
        taken: list[float] = []
        while len(taken) < WARM_UP_RUNS and sum(taken) < WARM_UP_SECONDS:
            started = time.perf_counter()
            predictor.predict_rows(rows)
            taken.append(time.perf_counter() - started)
        return min(taken)

    together = seconds(rows) / len(rows)
    return Latency(seconds(rows[:1]), together)
