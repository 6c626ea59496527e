"""A run's identity: its experiment and the facts that its results depend on. Pure."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tidegate.infra.store import Ref
from tidegate.models.config.quantities import memory_bytes
from tidegate.pipelines.experiment.data import Data
from tidegate.pipelines.experiment.data_parts.columns import TargetSpec
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.project.parts import Project
from tidegate.pipelines.planning.trained_file import LocalFile, TrainedFile
from tidegate.pipelines.step_types.prepare import Kept

# Rows that take more than 1/8 of the memory are streamed: encoded and as tensors they take up to nine times as much.
STREAM_PART = 8


@dataclass(frozen=True)
class Start:
    """The weights that training begins with: of an earlier run's winner, or of a file; see `WarmStartInputs`."""

    run: str
    keras: Ref
    transforms: Ref | None
    foreign: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything outside the experiment file that a step's result depends on.

    Attributes:
        data: digest of the data's content.
        model: digest of what training reaches of the project and of what it is known to read, or "".
        code: step name -> digest of the code it runs.
        versions: step name -> versions of the libraries it uses.
        trials: number of trials.
        champion: digest of the bundle a candidate must beat, or None.
        incarnation: how often the endpoint was deleted; a new one starts from scratch.
        project: the user's project, or None.
        size: about how many bytes the rows take in memory; 0 where it does not matter.
        start: the weights that training begins with, or None.
        trained: the trained model that the run imports; None: it trains one.
        answers: that model's answers to the rows of the data, or None.
        weights: pretrained weights for the user's build(), or None.
        model_files: the files of this machine that these are; they are put into the store before the first step.
        files: by part, the digest of the file that `data.split` names for it.
        source: the copy of the data in a store; None: it is where the experiment says.
        kept_files: the same of the files that `data.split` names, by part.
        packages: what the project requires, in one archive of the store, for pods; None: it is in the home.
        served: the same for an endpoint's pods, with what its image lacks.
        changed: files that the user's code reads and that were changed since the training; `model` covers them.
        tags: for MLflow, not part of the identity of any result: git commit, user, file.
    """

    data: str
    model: str
    code: dict[str, str]
    versions: dict[str, dict[str, str]]
    trials: int
    champion: str | None = None
    incarnation: int = 0
    project: Project | None = None
    start: Start | None = None
    trained: TrainedFile | None = None
    answers: Ref | None = None
    weights: Ref | None = None
    model_files: list[LocalFile] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    source: Kept | None = None
    kept_files: dict[str, Kept] = field(default_factory=dict)
    size: int = 0
    packages: Ref | None = None
    served: Ref | None = None
    changed: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


def digest_of(*parts: Any) -> str:
    """SHA-256 of plain values, the same for equal values on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def content_of(experiment: Experiment, facts: Facts) -> dict[str, Any]:
    """The experiment as plain values, with file paths replaced by digests of the files' content."""
    document = experiment.model_dump(mode="json")
    document["data"]["source"] = facts.data
    document["data"]["split"] |= facts.files
    del document["code"]  # what counts of it is what the steps reach
    # Whoever is told and whatever starts it, the results are the same.
    for key in ("notify", "schedule", "trigger"):
        del document[key]
    if facts.model:
        document["model"]["file"] = facts.model
    known = {"answers": facts.answers, "weights": facts.weights}
    known |= {"from": facts.start.keras if facts.start else None}
    known |= {"trained": facts.trained.model.ref if facts.trained else None}
    document["model"] |= {key: ref.digest for key, ref in known.items() if ref is not None}
    return document


def reached(facts: Facts, step: str) -> list[Any]:
    """What a step's result depends on of the project, as a part of its key; nothing where it reaches none of it."""
    if facts.project is None or step not in facts.project.reach:
        return []
    found = facts.project.of(step)
    env = digest_of(facts.project.env) if facts.project.env else ""
    return [found.files, found.packages, env, facts.project.lock.digest]


def streamed_memory(experiment: Experiment, facts: Facts) -> int | None:
    """Memory in bytes for streaming the rows in parts; None if all rows are held in memory.

    It depends on the experiment and the data only, not on the machine, because the order of rows depends on it.
    """
    data, memory = experiment.data, memory_bytes(experiment.resources.memory)
    if facts.trained is not None:
        return None
    if data.stream == "auto":
        return memory if facts.size > memory // STREAM_PART and not _needs_all(data) else None
    return memory if data.stream else None


def memory_if_larger(experiment: Experiment) -> int | None:
    """Memory in bytes for streaming rows of which only `data.load` knows whether they fit; None where it may not be."""
    data = experiment.data
    trains = experiment.model.trained is None
    streams = trains and data.load is not None and data.stream == "auto" and not _needs_all(data)
    return memory_bytes(experiment.resources.memory) if streams else None


def _needs_all(data: Data) -> bool:
    named = [entry for entry in data.target or () if isinstance(entry, TargetSpec)]
    other = data.task not in (None, "classification", "regression") or any(
        entry.kind or entry.task for entry in named
    )
    split = data.split
    return other or bool(
        split.folds
        or split.time
        or split.column
        or split.files
        or data.transform
        or data.forecast
        or data.anomaly
    )


def run_id(experiment: Experiment, facts: Facts) -> str:
    """Name of the run: the same for the same experiment, code, data and versions."""
    own = [reached(facts, step) for step in ("prepare", "train")]
    content = digest_of(content_of(experiment, facts), facts.code, facts.versions, *filter(None, own))
    return f"{experiment.name}-{content[:8]}"
