"""What a fork server imports before its first fork, and whether its process can still be forked."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tidegate.infra.mlflow.tracking import import_client
from tidegate.models.networks.keras_import import import_keras
from tidegate.pipelines.executors.base import WORKER
from tidegate.pipelines.steps import MODULES

HANG_S = 900  # many times what an import takes on a busy machine


class Kind(BaseModel):
    """One kind of processes.

    Attributes:
        name: of its server.
        module: the one that the process runs.
        function: of the module: it takes the arguments, and returns the exit code or ends the process.
        before: modules whose libraries make threads that a fork does no harm to: OpenBLAS' and jemalloc's.
        keras: whether Keras is imported, on TensorFlow.
        mlflow: whether MLflow's client is imported.
        after: modules that must make no thread.
        yields: whether its processes yield to others where cores are few, and so the server that imports for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    module: str
    function: str
    before: tuple[str, ...]
    keras: bool = False
    mlflow: bool = False
    after: tuple[str, ...] = ()
    yields: bool = False


STEPS = Kind(
    name="steps",
    module=WORKER,
    function="run_process",
    before=(WORKER, *(module for step, module in MODULES.items() if step != "train")),
)
TRAIN = Kind(
    name="train",
    module=WORKER,
    function="run_process",
    before=(WORKER, "scipy.linalg", "pyarrow", MODULES["train"]),
    keras=True,
    after=(
        "tidegate.models.export.onnx",
        "tidegate.models.loops.tensorflow",
        "tidegate.models.training.fit",
        "tf2onnx",
    ),
)
SYNC = Kind(
    name="sync",
    module="tidegate.pipelines.driver.mlflow_sync",
    function="main",
    before=(
        "tidegate.pipelines.driver.mlflow_sync",
        "pyarrow",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
    ),
    mlflow=True,
    yields=True,
)


class Imports:
    """The imports of one server, made when the first step comes, or before.

    Args:
        kind: of the processes that are forked.
        own_code: whether Keras is imported with what only a user's code may need.
    """

    def __init__(self, kind: Kind, own_code: bool) -> None:
        self.kind, self._own_code = kind, own_code
        self._threads: int | None = None

    def make(self) -> None:
        """Import everything. A second call is free; one that hangs ends this process."""
        if self._threads is None:
            signal.alarm(HANG_S)
            try:
                self._threads = self._import()
            finally:
                signal.alarm(0)

    def refusal(self, own_code: bool, names: Sequence[str]) -> str:
        """Why a step can not be forked; "" if it can.

        Args:
            own_code: whether the user's code runs in the step.
            names: of modules of the user's; a library of that name that is imported here would be taken for it.
        """
        if self._threads is None:
            self._own_code |= own_code
            self.make()
        if own_code and self.kind.keras and not self._own_code:
            return "the fork server has Keras without what only a user's code may need"
        same = [name for name in names if name in sys.modules]
        if same:
            return f"the project's own {same[0]} has the name of a module that the fork server has imported"
        found = _threads()
        expected = self._threads or 0
        return f"the fork server has {found} threads and expected {expected}" if found > expected else ""

    def _import(self) -> int:
        """Import everything; return the number of threads that there may be."""
        for name in self.kind.before:
            import_module(name)
        known = _threads()
        if self.kind.keras:
            os.environ["KERAS_BACKEND"] = (
                "tensorflow"  # whatever the caller has; a child gets its own variables
            )
            import_keras(own_code=self._own_code)
        if self.kind.mlflow:
            import_client()
        for name in self.kind.after:
            import_module(name)
        build_models()
        gc.collect()
        gc.freeze()  # else the first collection of a child would copy every page
        return known


def build_models(base: type[BaseModel] = BaseModel) -> None:
    """Build what validates our documents, which is otherwise put off until a class is used: each child would do it."""
    for model in base.__subclasses__():
        if model.__module__.startswith("tidegate."):
            model.model_rebuild()
        build_models(model)


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
