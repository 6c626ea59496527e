"""The context of a step: what it may use in addition to its inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.store import Ref, Store
from tidegate.pipelines.state.home import Home, RunFolder


@dataclass(frozen=True)
class StepContext:
    """What a step may use in addition to its inputs.

    Attributes:
        home: the home of the run.
        folder: the run's folder.
        id: the step's id in the plan.
        key: the content hash of its result.
        work: an empty folder of its own, removed when the step ends.
        report_error: writes an error for the driver, when the process is about to end; callable from any thread.
    """

    home: Home
    folder: RunFolder
    id: str
    key: str
    work: Path
    report_error: Callable[[Exception], None] = lambda _: None

    @property
    def store(self) -> Store:
        """Where inputs come from and outputs go."""
        return self.home.store

    def spool(self) -> Spool:
        """The spool for the events of this step's MLflow run."""
        return Spool(self.home.spool / self.folder.run, self.id)

    def put(self, path: Path) -> Ref:
        """Put a file of the work folder into the store."""
        return self.store.put(path)
