"""Trials that only look as if they trained: real Jobs on simulated nodes, their outputs put into the store.

What is real is the driver's side: the plan, the executor, the API server, the scheduler, the store.
"""

import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.infra.store import Ref
from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.driver.kept_record import KeptRecord
from tidegate.pipelines.executors.base import Handle, StepCall
from tidegate.pipelines.executors.kubernetes import KubernetesExecutor
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.identity import Facts
from tidegate.pipelines.planning.plan import Plan, make_plan
from tidegate.pipelines.planning.step import STEPS, Step
from tidegate.pipelines.state.home import Home, RunFolder, RunRecord, StepRecord
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.prepare import Prepared

FILES = ("model.keras", "model.onnx", "reference.npy", "report.npz", "events.jsonl")
ON_SIMULATED_NODES = {
    "gpus": 1,
    "cpu": 1,
    "memory": "1Gi",
    "node_selector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
}
NONE = Ref(digest="", size=0, name="")
NOTHING_PREPARED = Prepared(
    schema_=NONE, transforms=NONE, train=NONE, validation=NONE, test=NONE, fingerprint="", summary={}
)


def plan_of(name: str, trials: int, parallelism: int) -> Plan:
    """A run of nothing but trials that no store knows yet, each of which asks for a GPU."""
    space = {"training.optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    search = {
        "method": "random",
        "trials": trials,
        "parallelism": parallelism,
        "space": space,
        "pruning": None,
    }
    experiment = Experiment.model_validate(
        {
            "name": name,
            "data": {"dataset": "digits"},
            "model": {"family": "mlp"},
            "search": search,
            "training": {"seed": time.time_ns() % 2**31},
            "resources": ON_SIMULATED_NODES,
        }
    )
    facts = Facts("data", "", dict.fromkeys(STEPS, ""), {step: {} for step in STEPS}, trials)
    plan = make_plan(experiment, facts)
    steps = []
    for step in plan.of("train"):
        inputs = step.inputs.model_copy(update={"prepared": NOTHING_PREPARED, "content": {}})
        steps.append(Step(step.id, step.step, step.key, partial(_as_it_is, inputs), after=()))
    return Plan(plan.run, experiment, facts, tuple(steps))


def _as_it_is(inputs: StepPart) -> StepPart:
    return inputs


class SimulatedExecutor(KubernetesExecutor):
    """Starts the real Jobs; what their workers would leave is there as soon as they are begun."""

    def start(self, call: StepCall) -> Handle:
        """Create the Job, and the outputs of its step."""
        outputs = {"metrics": {"test_accuracy": 0.9}, "params": {}, "pruned": False, **self._files()}
        document = {"step": call.step, "run": self.run, "outputs": outputs, "began": 0.0, "seconds": 1.0}
        found = self.home.store.read(f"steps/{call.key}.json")
        if found is None:
            self.home.store.write(f"steps/{call.key}.json", json.dumps(document).encode(), None)
        return super().start(call)

    def _files(self) -> dict[str, Any]:
        if not hasattr(self, "_kept"):
            folder = self.home.path / "work"
            folder.mkdir(exist_ok=True)
            self._kept = {}
            for name in FILES:
                write_atomic(folder / name, name.encode())
                self._kept[name.partition(".")[0]] = self.home.store.put(folder / name).model_dump()
        return self._kept


@dataclass
class Recorder:
    """Keeps the run's record as the driver does."""

    folder: RunFolder
    record: KeptRecord
    notices: list[str] = field(default_factory=list)
    done: int = 0

    def on_step(self, record: StepRecord, outputs: dict[str, Any] | None) -> None:
        """A step changed."""
        self.record.set_step(record)
        self.done += outputs is not None

    def on_retry(self, step_id: str, signal: int) -> None:
        """A step was killed."""
        self.notices.append(f"{step_id} killed by {signal}")

    def on_notice(self, step_id: str, text: str) -> None:
        """A step waits."""
        self.notices.append(f"{step_id} {text}")

    def on_poll(self) -> None:
        """Nothing to show."""
        self.record.write_if_due()


def recorder(home: Home, plan: Plan) -> Recorder:
    """The record of a run that has just begun."""
    folder = home.folder_of(plan.run)
    folder.create()
    record = RunRecord(
        run=plan.run,
        name=plan.experiment.name,
        endpoint=plan.experiment.endpoint,
        status="running",
        created=0.0,
        experiment=plan.experiment.model_dump(mode="json"),
    )
    return Recorder(folder, KeptRecord(folder, record))


def home_on_testbed(path: Path) -> Home:
    """A home whose target is the testbed."""
    from tidegate.pipelines.state.targets import find_target

    return Home(path, find_target(path, "testbed"))
