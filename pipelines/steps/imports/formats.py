"""A trained model of each format, loaded in its own framework: nothing of the file is executed but its arithmetic."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array
from tidegate.models.distributed.devices import configure_backend
from tidegate.models.errors import ExportError, UserModelError, one_line
from tidegate.models.networks.keras_import import import_keras
from tidegate.models.networks.outputs import Outputs
from tidegate.models.preprocessing.raw_inputs import ModelInput
from tidegate.models.preprocessing.schema import Class
from tidegate.models.probing.probes import Answering, KerasAnswers
from tidegate.pipelines.steps.trials.exports import ModelFiles
from tidegate.serving.errors import ServingError
from tidegate.serving.runtimes import load_before, load_model
from tidegate.serving.untrusted import check_model
from tidegate.serving.untrusted.saved_model import check_saved_model

Inputs = Mapping[str, Array]


class TrainedModel(Answering, Protocol):
    """A trained model of any format.

    Attributes:
        inputs: what it takes.
        classes: what its file says of its classes; () if nothing.
        changed: how what is served is another model than the file's, one sentence each.
    """

    inputs: Sequence[ModelInput]
    classes: tuple[Class, ...]
    changed: list[str]

    def add_activation(self, head: Outputs) -> None:
        """Let it answer probabilities instead of logits."""

    def files(self, folder: Path) -> ModelFiles:
        """Write the files that serve it into a folder."""


def load_trained(format: str, path: Path, code: Path | None, work: Path) -> TrainedModel:
    """Load a trained model.

    Args:
        format: "keras", "onnx" or "saved_model".
        path: its file; of a SavedModel the zip.
        code: the user's file, which may define layers of the model.
        work: a folder for temporary files.

    Raises:
        UntrustedModelError: it could run code, read other files or use up the memory.
        ModelsError: it cannot be loaded.
    """
    if format == "onnx":
        check_model("onnx", path)
        return OnnxFile(path, work)
    configure_backend("tensorflow")
    if format == "keras":
        check_model("tensorflow", path, code)
        import_keras(own_code=code is not None)
        return KerasFile(path, code)
    folder = work / "saved_model"
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)  # it keeps every name inside the folder
    except zipfile.BadZipFile as error:
        raise UserModelError(f"{path.name} is no zip of a SavedModel; submit again") from error
    check_saved_model(folder)
    import_keras()
    return SavedModelFolder(folder, work)


class KerasFile:
    """A `.keras` file."""

    def __init__(self, path: Path, code: Path | None) -> None:
        from tidegate.models.imported.keras_model import inputs_of_keras, load_keras
        from tidegate.models.user_code.model_source import custom_objects

        self._code = code
        self._model = load_keras(path, custom_objects(code) if code else {})
        self.inputs: Sequence[ModelInput] = inputs_of_keras(self._model)
        self.classes: tuple[Class, ...] = ()
        self.changed: list[str] = []

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape of a row of its output."""
        return KerasAnswers(self._model).sizes

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Its answers."""
        return KerasAnswers(self._model).run(inputs)

    def before(self, inputs: Inputs) -> NDArray[np.float32] | None:
        """What it computes before its last activation."""
        return KerasAnswers(self._model).before(inputs)

    def add_activation(self, head: Outputs) -> None:
        """Put the activation behind its logits."""
        from tidegate.models.networks.heads.probabilities import require_logits

        require_logits(self._model, "model.trained")
        self._model = head.with_probabilities(self._model)
        self.changed.append(f"a {head.activation} was put behind its logits, as from_logits says")

    def files(self, folder: Path) -> ModelFiles:
        """The model as Keras saves it, and its ONNX export."""
        from tidegate.models.export.onnx import export_saved

        keras, onnx = folder / "model.keras", folder / "model.onnx"
        self._model.save(keras, include_optimizer=False)
        try:
            export_saved(self._model, keras, onnx, self._code)
        except ExportError as error:
            return ModelFiles(keras, None, str(error))
        return ModelFiles(keras, onnx, "")


class OnnxFile:
    """An `.onnx` file, which is what is served."""

    def __init__(self, path: Path, work: Path) -> None:
        from tidegate.models.imported.onnx_model import read_onnx

        self._model = read_onnx(path)
        self._path, self._served = path, work / "served.onnx"
        self.inputs: Sequence[ModelInput] = self._model.inputs
        self.classes, self.changed = self._model.classes, self._model.changed
        self._sizes: tuple[int | None, ...] = ()

    @cached_property
    def _run(self) -> Any:
        if not self.changed:
            return load_model("onnx", self._path)
        self._model.save(self._served)
        return load_model("onnx", self._served)

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape of a row of its output, once it was asked."""
        return self._sizes

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """Its answers; UserModelError if ONNX Runtime refuses the inputs."""
        try:
            answers: NDArray[np.float32] = self._run(dict(inputs))
        except ServingError:
            raise
        except Exception as error:  # ONNX Runtime's own errors have no common base
            raise UserModelError(
                f"the model does not take its inputs: {one_line(error)[:300]}; expected one that takes any number of "
                "rows; export it again"
            ) from error
        self._sizes = answers.shape[1:]
        return answers

    def before(self, inputs: Inputs) -> NDArray[np.float32] | None:
        """What it computes before its last activation."""
        found = load_before("onnx", self._served if self.changed else self._path)
        return None if found is None else found(dict(inputs))

    def add_activation(self, head: Outputs) -> None:
        """Put the activation behind its logits."""
        from tidegate.models.imported.onnx_model import add_activation

        add_activation(self._model, head.activation)
        self.__dict__.pop("_run", None)

    def files(self, folder: Path) -> ModelFiles:
        """The file itself, byte by byte, unless something was left out or added."""
        onnx = folder / "model.onnx"
        onnx.write_bytes((self._served if self.changed else self._path).read_bytes())
        return ModelFiles(None, onnx, "")


class SavedModelFolder(OnnxFile):
    """A SavedModel: TensorFlow answers for it, and its ONNX export is served."""

    def __init__(self, folder: Path, work: Path) -> None:
        from tidegate.models.imported.saved_model import SavedModel

        self._saved = SavedModel(folder)
        exported = work / "exported.onnx"
        self._saved.export(exported)
        super().__init__(exported, work)
        self.inputs = self._saved.inputs
        self._activation = ""

    def run(self, inputs: Inputs) -> NDArray[np.float32]:
        """The answers of TensorFlow."""
        answers = np.asarray(self._saved.run(inputs), np.float32)
        self._sizes = answers.shape[1:]
        return _activated(answers, self._activation)

    def add_activation(self, head: Outputs) -> None:
        """Put the activation behind its logits."""
        super().add_activation(head)
        self._activation = head.activation
        self._model.save(self._served)


def _activated(values: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))), np.float32)
    if activation == "softmax":
        powers = np.exp(values.astype(np.float64) - values.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
    return values
