"""package: check that the export equals the trained model, choose the runtime, build bundle and bento."""

from pathlib import Path
from typing import Any

from tidegate.models.data.columns import load_columns
from tidegate.models.errors import ExportError
from tidegate.models.export.layer_differences import differing_layer
from tidegate.models.export.onnx_explainer import export_saved_path_gradients
from tidegate.models.user_code.code_folder import DOCUMENT
from tidegate.models.user_code.project import project_document
from tidegate.pipelines.errors import PipelineError
from tidegate.pipelines.state.bundles import keep_bundle
from tidegate.pipelines.step_types.package import Packaged, PackageInputs, nearness
from tidegate.pipelines.steps.bundle_chain import chain_of
from tidegate.pipelines.steps.cached_model import cache_to_prove, proved_cache
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.data_contract import read_contract, with_thresholds
from tidegate.pipelines.steps.project import code_reached, lay_out_packages
from tidegate.serving.bundle.bento import BentoBuilder, build_bento
from tidegate.serving.bundle.bundle import DRIFT, SLOPES, write_bundle
from tidegate.serving.bundle.measurements import Batching, Parity, Probed, Runtime
from tidegate.serving.errors import ServingError
from tidegate.serving.inference.parity import check_parity
from tidegate.serving.inference.predictor import example_rows

BATCHING, EXPLAINED, ATTRIBUTIONS = "batching.json", "explained.json", "attributions.npz"
PROBED = "probed.json"


def run(inputs: PackageInputs, context: StepContext) -> Packaged:
    """Check, then package.

    Raises:
        PipelineError: no runtime, or not the requested one, serves the model as it was trained.
    """
    with BentoBuilder() as builder:  # it imports BentoML while the model is checked
        return _package(inputs, context, builder)


def _package(inputs: PackageInputs, context: StepContext, builder: BentoBuilder) -> Packaged:
    no_slopes = _export_slopes(inputs, context) if inputs.explain else ""
    runtime, reason, parity = _choose(inputs, context, no_slopes)
    if reason:
        print(f"served by {runtime}: {reason}")
    folder = context.work / "bundle"
    schema, transforms = read_contract(inputs.prepared, context.store)
    schema = with_thresholds(schema, inputs.winner)
    columns = load_columns(context.store.fetch(inputs.prepared.test))
    batching = Batching.model_validate_json((context.work / BATCHING).read_bytes())
    probed = _probed(inputs, context)
    explained = None
    if inputs.explain:
        explained = Parity.model_validate_json((context.work / EXPLAINED).read_bytes())
    write_bundle(
        folder,
        name=inputs.endpoint,
        run=inputs.run,
        trial=inputs.winner.id,
        schema=schema,
        transforms=transforms,
        model=_model(inputs, context, runtime),
        runtime=runtime,
        parity=parity,
        sample=example_rows(schema, columns),
        versions=inputs.versions,
        reason=reason,
        code=_code(inputs, context, runtime),
        drift=context.work / DRIFT,
        batching=batching,
        decoding=inputs.decoding,
        explained=explained,
        slopes=context.work / SLOPES if inputs.explain and runtime == "onnx" else None,
        probes=context.store.fetch(inputs.winner.probes) if inputs.winner.probes else None,
        probed=probed,
        proof=inputs.winner.proof,
        cached=proved_cache(inputs, context, runtime),
        chain=chain_of(inputs, parity, probed),
    )
    digest = keep_bundle(context.home, folder, inputs.code.served_packages if inputs.code else None)
    labels = {"tidegate-run": inputs.run, "tidegate-trial": inputs.winner.id, "tidegate-runtime": runtime}
    bento = build_bento(folder, name=inputs.endpoint, version=digest[:16], labels=labels, builder=builder)
    difference = None if inputs.winner.proof == "none" else parity.max_abs_difference
    print(
        f"bento {bento}, runtime {runtime}, {nearness(difference, inputs.winner.proof)}, {parity.rows} rows"
    )
    if probed is not None:
        print(f"proved beyond held-out rows: {probed.summary}")
    print(f"requests: {batching.summary}")
    if explained is not None:
        near = f"{explained.max_abs_difference:.3g} on {explained.rows} rows"
        print(f"explains predictions, attributions within {near}")
    return Packaged(
        bundle=digest,
        bento=bento,
        runtime=runtime,
        reason=reason,
        parity=difference,
        proof=inputs.winner.proof,
        tolerance=parity.tolerance,
        rows=parity.rows,
        batching=batching,
        explained=None if explained is None else explained.max_abs_difference,
        probed=probed,
    )


def _probed(inputs: PackageInputs, context: StepContext) -> Probed | None:
    """What the last parity check found for the probes; None if an earlier version trained the model."""
    if inputs.winner.probes is None:
        return None
    return Probed.model_validate_json((context.work / PROBED).read_bytes())


def _export_slopes(inputs: PackageInputs, context: StepContext) -> str:
    """Export the gradients that explain predictions in ONNX Runtime, and the trained model's attributions to compare.

    Returns:
        Why there is no ONNX file, or "".

    Raises:
        PipelineError: the model cannot be explained at all.
    """
    schema, _ = read_contract(inputs.prepared, context.store)
    fetch = context.store.fetch
    try:
        return export_saved_path_gradients(
            saved=_model(inputs, context, "tensorflow"),
            transforms=fetch(inputs.prepared.transforms),
            columns=fetch(inputs.prepared.test),
            task=schema.target.task,
            path=context.work / SLOPES,
            reference=context.work / ATTRIBUTIONS,
            code=project_document(),
        )
    except ExportError as error:
        raise PipelineError(f"serving.explain is true, but the model cannot be explained: {error}") from error


def _choose(inputs: PackageInputs, context: StepContext, no_slopes: str) -> tuple[Runtime, str, Parity]:
    """ONNX if it equals the trained model; otherwise TensorFlow, checked too, with the reason."""
    reason = "the experiment asks for the tensorflow runtime"
    if inputs.runtime != "tensorflow":
        parity, reason = (None, no_slopes) if no_slopes else _try(inputs, context, "onnx")
        if parity is not None:
            return "onnx", "", parity
        if inputs.runtime == "onnx":
            raise PipelineError(f"serving.runtime is onnx, but {reason}; use serving.runtime: auto")
    parity, problem = _try(inputs, context, "tensorflow")
    if parity is None:
        raise PipelineError(f"no runtime serves this model as it was trained: {reason}; {problem}")
    return "tensorflow", reason, parity


def _try(inputs: PackageInputs, context: StepContext, runtime: Runtime) -> tuple[Parity | None, str]:
    if runtime == "onnx" and inputs.winner.onnx is None:
        return None, f"the model has no ONNX export: {inputs.winner.export_error}"
    if runtime == "tensorflow" and inputs.winner.keras is None:
        return None, "the model has no Keras file, which the tensorflow runtime needs"
    fetch = context.store.fetch
    try:
        parity = check_parity(
            model=_model(inputs, context, runtime),
            runtime=runtime,
            schema=fetch(inputs.prepared.schema_),
            transforms=fetch(inputs.prepared.transforms),
            columns=fetch(inputs.prepared.test),
            reference=fetch(inputs.winner.reference),
            code=_code(inputs, context, runtime),
            decoding=inputs.decoding,
            training=fetch(inputs.prepared.train),
            drift=context.work / DRIFT,
            batching=context.work / BATCHING,
            probes=fetch(inputs.winner.probes) if inputs.winner.probes else None,
            probed=context.work / PROBED if inputs.winner.probes else None,
            **_explaining(inputs, context, runtime),
            **cache_to_prove(inputs, context, runtime),
        )
    except ServingError as error:
        return None, f"the {runtime} model cannot be compared with the trained one: {error}"
    probed = _probed(inputs, context)
    if not parity.passed:
        layer = _layer(inputs, context, probed) if runtime == "onnx" else ""
        return None, (
            f"the {runtime} model differs from the trained one by {parity.max_abs_difference:.3g} "
            f"on {parity.rows} held-out rows; allowed is {parity.tolerance:.3g}{layer}"
        )
    if probed is not None and not probed.passed:
        layer = _layer(inputs, context, probed) if runtime == "onnx" else ""
        return None, f"the {runtime} model differs from the trained one: {probed.summary}{layer}"
    if inputs.explain:
        explained = Parity.model_validate_json((context.work / EXPLAINED).read_bytes())
        if not explained.passed:
            return None, (
                f"the {runtime} model's attributions differ from the trained one's by "
                f"{explained.max_abs_difference:.3g} on {explained.rows} held-out rows; "
                f"allowed is {explained.tolerance:.3g}"
            )
    return parity, ""


def _layer(inputs: PackageInputs, context: StepContext, probed: Probed | None) -> str:
    """The layer that the ONNX file computes otherwise, as the end of a sentence; "" if it cannot be named."""
    if probed is None or inputs.winner.probes is None or inputs.winner.keras is None:
        return ""
    clause = differing_layer(
        saved=_model(inputs, context, "tensorflow"),
        exported=_model(inputs, context, "onnx"),
        transforms=context.store.fetch(inputs.prepared.transforms),
        probes=context.store.fetch(inputs.winner.probes),
        row=probed.row,
        code=project_document(),
    )
    return f"; {clause}" if clause else ""


def _explaining(inputs: PackageInputs, context: StepContext, runtime: Runtime) -> dict[str, Any]:
    """The arguments with which `check_parity` compares attributions, if explanations are requested."""
    if not inputs.explain:
        return {}
    slopes = context.work / SLOPES if runtime == "onnx" else _model(inputs, context, runtime)
    work = context.work
    return {"slopes": slopes, "attributions": work / ATTRIBUTIONS, "explained": work / EXPLAINED}


def _model(inputs: PackageInputs, context: StepContext, runtime: Runtime) -> Path:
    ref = inputs.winner.onnx if runtime == "onnx" else inputs.winner.keras
    assert ref is not None  # a runtime without its file is never tried
    return context.store.fetch(ref)


def _code(inputs: PackageInputs, context: StepContext, runtime: Runtime) -> Path | None:
    """The part of the user's project that an endpoint of this runtime runs, laid out once."""
    folder = context.work / f"served-{runtime}"
    if inputs.code is None:
        return None
    if (folder / DOCUMENT).exists():
        return folder / DOCUMENT
    served = inputs.code.served_packages
    lay_out_packages(context.home, served, served.digest if served else "")
    return code_reached(inputs.code, context.work, folder, model=runtime == "tensorflow")
