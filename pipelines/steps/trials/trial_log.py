"""What a trial reports: a line per epoch, progress for the bar, and events for MLflow, all in local files."""

import json
import math
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from tidegate.infra.mlflow.spool import Spool
from tidegate.infra.store import Ref
from tidegate.infra.system.files import write_atomic
from tidegate.models.config.training import keras_backend
from tidegate.models.data.columns import load_columns, rows_of, take
from tidegate.models.evaluation.evaluation import Evaluation
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.pipelines.experiment.dotted import flat
from tidegate.pipelines.step_types.prepare import Prepared
from tidegate.pipelines.step_types.train import Draw
from tidegate.pipelines.steps.context import StepContext

if TYPE_CHECKING:
    from tidegate.models.training.checkpoint import TrainingProgress
    from tidegate.pipelines.steps.trials.trial_results import TrialFiles

SAMPLE_S = 5.0
STARTING = "starting:"
IMPORTED = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
EXAMPLE_ROWS = 5


def parameters(content: Mapping[str, Any]) -> dict[str, Any]:
    """A run's parameters for MLflow, by dotted key.

    Args:
        content: the experiment, with digests in place of its files; its description is left out, it becomes a note.
    """
    values = flat({key: value for key, value in content.items() if key != "description"})
    renamed = {"data.source": "data.digest", "model.file": "model.digest"}
    return {renamed.get(key, key): value for key, value in values.items()}


def version_tags(versions: Mapping[str, str]) -> dict[str, str]:
    """Tags with the versions of the libraries that a run used."""
    return {f"version.{name}": version for name, version in versions.items()}


def absent_tags(search: Draw | None, params: Mapping[str, Any]) -> dict[str, str]:
    """A tag with the searched values that a trial does not have, because their conditions do not hold."""
    absent = [key for key in search.space if key not in params] if search else []
    return {"tidegate.without": ", ".join(absent)} if absent else {}


def undefined_tags(undefined: Mapping[str, str]) -> dict[str, str]:
    """Tags that say why a metric has no value; MLflow's metrics are numbers."""
    return {f"undefined.{name}": reason for name, reason in undefined.items()}


def log_datasets(spool: Spool, name: str, schema: Schema, prepared: Prepared) -> None:
    """Log the data to MLflow: one dataset per split, each with its own fingerprint."""
    for split in ("train", "validation", "test"):
        spool.write(
            "dataset",
            f"dataset-{split}",
            name=name,
            digest=prepared.summary["fingerprints"][split][:32],
            source=json.dumps({"fingerprint": prepared.fingerprint, "split": split}),
            context={"train": "training"}.get(split, split),
            schema=schema.model_dump(mode="json"),
            profile={"num_rows": prepared.summary["rows"][split]},
        )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def position(epoch: int, batch: int, batches: int) -> str:
    """Describe a position in a training, counted from 1."""
    return f"epoch {epoch + 1}, batch {batch} of {batches}"


class TrialLog:
    """The events of one trial. A trial that runs again writes no event twice, because the ids are the same."""

    def __init__(
        self,
        context: StepContext,
        run: str,
        name: str,
        index: int,
        content: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        """Open the spool and write the trial's name, tags and parameters.

        Args:
            context: the step's.
            run: id of the parent run.
            name: the experiment's.
            index: number of the trial.
            content: the experiment with this trial's values.
            facts: more tags, such as the git commit and versions.
        """
        self._context = context
        self._spool = context.spool()
        self._data = content["data"]["dataset"] or name
        self._epochs = 0
        self._began = time.monotonic()
        self._stop = threading.Event()
        tags = {"tidegate.run": run, "tidegate.trial": str(index), "tidegate.step": context.id, **facts}
        self._spool.write("run", "run", name=f"{run}/trial-{index}", experiment=name, tags=tags, parent=run)
        self._spool.write("params", "params", values=parameters(content))
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def starting(self, backend: str) -> None:
        """The backend is about to be imported, which takes long: print one line, so that the user knows."""
        print(f"{STARTING} importing {IMPORTED[keras_backend(backend)]}", flush=True)

    def begin(self, epochs: int) -> None:
        """Training is about to begin."""
        self._epochs = epochs
        self._began = time.monotonic()
        self._sampler.start()

    def epoch(self, epoch: int, metrics: Mapping[str, float], timestamp_ms: int) -> None:
        """An epoch ended: print one line, write one fsynced event."""
        values = _finite(metrics)
        self._spool.write("metrics", f"epoch-{epoch}", step=epoch, values=values, t=timestamp_ms)
        shown = "  ".join(
            f"{key} {value:.4g}" if key in values else f"{key} undefined" for key, value in metrics.items()
        )
        print(f"epoch {epoch + 1}/{self._epochs}  {time.monotonic() - self._began:.1f}s  {shown}", flush=True)
        self.batch(epoch + 1, 0, 1)

    def resumed(self, progress: "TrainingProgress", batches: int) -> None:
        """Training resumes after it was killed: print a line, write a tag, and any missing events of epochs done."""
        where = position(progress.epoch, progress.batch, batches)
        print(f"resumed from {where}", flush=True)
        self._spool.write("tags", f"resumed-{where}", values={"tidegate.resumed": where})
        for epoch, (values, ended) in enumerate(zip(progress.epochs, progress.ended_ms, strict=True)):
            self._spool.write("metrics", f"epoch-{epoch}", step=epoch, values=_finite(values), t=ended)

    def fold(self, fold: int, metrics: Mapping[str, float]) -> None:
        """A fold was evaluated: print one line, write a point of each `fold_` metric."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        print(f"fold {fold + 1}  {shown}", flush=True)
        values = {f"fold_{name}": value for name, value in metrics.items()}
        self._spool.write("metrics", f"fold-{fold}", step=fold, values=values)

    def loop(self, backend: str, xla: bool, batches_a_call: int) -> None:
        """Log how the training loop ran, as tags: it was measured, and nobody chose it."""
        values = {"backend": backend, "xla": xla, "batches_a_call": batches_a_call}
        self._spool.write("tags", "loop", values={f"loop.{key}": value for key, value in values.items()})

    def by_keras(self, how: str) -> None:
        """Keras' own loop trains: print how, write a tag."""
        print(how, flush=True)
        self._spool.write("tags", "loop.keras", values={"loop.keras": how})

    def batch(self, epoch: int, batch: int, batches: int) -> None:
        """Write the progress of the training, for the driver's bar."""
        share = (epoch + batch / max(1, batches)) / max(1, self._epochs)
        began = time.time() - (time.monotonic() - self._began)
        progress = {"share": min(1.0, share), "epoch": epoch, "epochs": self._epochs, "t": time.time()}
        progress["began"] = began
        path = self._context.folder.path / "progress" / f"{self._context.id}.json"
        write_atomic(path, json.dumps(progress).encode())

    def _sample(self) -> None:
        """Write system metrics at the start and every SAMPLE_S seconds, under MLflow's own names."""
        process, number = psutil.Process(), 0
        process.cpu_percent()
        while True:
            self._stop.wait(0.2 if number == 0 else SAMPLE_S)
            memory = psutil.virtual_memory()
            values = {
                "cpu_utilization_percentage": process.cpu_percent(),
                "process_memory_megabytes": process.memory_info().rss / 1e6,
                "system_memory_usage_percentage": memory.percent,
                "system_memory_usage_megabytes": memory.used / 1e6,
            }
            self._spool.write("system", f"system-{number}", step=number, values=values)
            number += 1
            if self._stop.is_set():
                return

    def results(
        self,
        measured: Evaluation,
        prepared: Prepared,
        transforms: Transforms,
        schema: Schema,
        files: "TrialFiles",
        answered: list[int],
        requirements: list[str],
        pruned_at: str | None,
    ) -> None:
        """Training succeeded: log the final metrics, the datasets, the figures and the model.

        The driver logs the figures of a search's winner; they are drawn of no other trial. `pruned_at` says where the
        search's rule stopped the trial: "" where it did not, None without a search.
        """
        if pruned_at is not None:
            where = {"tidegate.pruned_at": pruned_at} if pruned_at else {}
            self._spool.write("tags", "pruned", values={"tidegate.pruned": bool(pruned_at), **where})
        # At step 0, MLflow draws a bar; a line of one point would show nothing.
        self._spool.write("metrics", "final", step=0, values=measured.values)
        if measured.undefined:
            self._spool.write(
                "tags",
                "undefined",
                values={f"tidegate.{name}": one for name, one in undefined_tags(measured.undefined).items()},
            )
        log_datasets(self._spool, self._data, schema, prepared)
        if files.exported:
            self._spool.write("figures", "figures", ref=files.report.model_dump())
        columns = load_columns(self._context.store.fetch(prepared.test))
        example = transforms.apply(take(columns, np.arange(min(EXAMPLE_ROWS, rows_of(columns)))))
        self._spool.write(
            "model",
            "model",
            ref=files.keras.model_dump() if files.keras else None,
            contract={
                "schema": prepared.schema_.model_dump(),
                "transforms": prepared.transforms.model_dump(),
            },
            onnx=files.onnx.model_dump() if files.onnx else None,
            inputs=[
                {
                    "name": name,
                    "dtype": "str" if spec.dtype == "string" else spec.dtype,
                    "shape": [-1, *([-1] if spec.kind == "prefix" else spec.shape)],
                }
                for name, spec in transforms.input_specs.items()
            ],
            outputs=[{"name": "output", "dtype": "float32", "shape": [-1, *answered]}],
            input_example={name: array.tolist() for name, array in example.items()},
            requirements=requirements,
        )

    def store_events(self) -> Ref:
        """Put the events into the store, for other runs that use this trial."""
        self._end("FINISHED")
        return self._context.store.put(self._spool.path, "events.jsonl")

    def failed(self, reason: str) -> None:
        """Training failed: the child run gets the reason as a tag."""
        self._spool.write("tags", f"reason-{time.time()}", values={"tidegate.reason": reason})
        self._end("FAILED")

    def _end(self, status: str) -> None:
        self._stop.set()
        if self._sampler.is_alive():
            self._sampler.join()
        self._spool.write("end", f"end-{time.time()}", status=status)
