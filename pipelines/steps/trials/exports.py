"""What serves and proves a trained model: its ONNX file, and its probes."""

from pathlib import Path
from typing import Any, NamedTuple

from tidegate.infra.store import Ref
from tidegate.models.data.columns import Columns
from tidegate.models.errors import ExportError
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import Answering, make_probes, save_probes
from tidegate.models.user_code.project import project_document
from tidegate.pipelines.steps.context import StepContext


class ModelFiles(NamedTuple):
    """What serves a model: a .keras file, an .onnx file, or both; and why there is no .onnx file, or "".

    `cached` is another .onnx file, see `export.onnx_cache`; None for most models.
    """

    keras: Path | None
    onnx: Path | None
    export_error: str
    cached: Path | None = None


def export_model(model: Any, keras: Path, onnx: Path) -> ModelFiles:
    """Export a trained Keras model; if it has no ONNX form, the reason is in `export_error`.

    Args:
        model: it.
        keras: its .keras file.
        onnx: the file to write.
    """
    from tidegate.models.export.onnx import export_saved

    try:
        export_saved(model, keras, onnx, project_document())
    except ExportError as error:
        return ModelFiles(keras, None, str(error))
    return ModelFiles(keras, onnx, "", _export_cached(model, onnx.with_name("cached.onnx")))


def _export_cached(model: Any, path: Path) -> Path | None:
    """Write the file that reads only new tokens, if the family has one; why that fails is said."""
    from tidegate.models.export.onnx_cache import export_cached, has_cache

    if not has_cache(model):
        return None
    try:
        export_cached(model, path)
    except ExportError as error:
        print(f"reads a text again for each token: {error}", flush=True)
        return None
    return path


def put_probes(
    model: Answering, schema: Schema, transforms: Transforms, columns: Columns, context: StepContext
) -> Ref | None:
    """Choose the probes of a trained model, and store them with its answers.

    Args:
        model: it.
        schema, transforms: of the data.
        columns: held-out raw rows.
        context: of the step.

    Returns:
        None if there are no rows.
    """
    probes, path = make_probes(model, schema, transforms, columns), context.work / "probes.npz"
    if probes is None:
        return None
    save_probes(path, probes)
    return context.put(path)
