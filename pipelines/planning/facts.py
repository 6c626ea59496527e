"""The facts a plan depends on: digests of data and code, versions, the champion. Imports nothing heavy."""

import hashlib
import os
import sys
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tidegate.models.tuning.grid import grid_size
from tidegate.models.tuning.space import space_of
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.code import references_in
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.data_source import sources_of
from tidegate.pipelines.planning.identity import Facts, digest_of, run_id
from tidegate.pipelines.planning.model_files import keep_files, model_files
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.planning.project.parts import Project
from tidegate.pipelines.planning.step import steps_for
from tidegate.pipelines.state.files_read import model_identity
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import known_run
from tidegate.pipelines.state.targets import IN_POD
from tidegate.serving.bundle.import_closure import content_of, reached_modules
from tidegate.serving.deployment.release import EndpointState, load

# Modules that move a step's files and report on it, but do not change its result: an edit there repeats no step.
CHANGES_NO_RESULT = (
    "tidegate.infra",
    "tidegate.pipelines.state",
    "tidegate.pipelines.hosting",
    "tidegate.pipelines.history",
    "tidegate.pipelines.signing",
    "tidegate.pipelines.steps.context",
    "tidegate.pipelines.steps.trials.trial_log",
)
# What is decided for a step before it starts counts like its own code.
DECIDED = {"train": ("tidegate.pipelines.planning.suggestions",)}
MODULES = {"import": "import_model"}  # where a step's module is not called as the step
# The libraries whose versions a step's result depends on.
LIBRARIES = {
    "prepare": ("numpy", "scikit-learn"),
    "train": ("numpy", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "tf2onnx", "optuna"),
    "import": ("numpy", "keras", "tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime"),
    "select": ("numpy", "onnxruntime"),
    "package": ("numpy", "onnxruntime", "bentoml"),
}


def gather(experiment: Experiment, home: Home) -> Facts:
    """Collect everything that `make_plan` needs in addition to the experiment.

    Args:
        experiment: its paths absolute.
        home: where endpoints and earlier runs are recorded.

    Raises:
        ExperimentError, ModelsError, StoreError: the data cannot be read.
    """
    sources = sources_of(experiment.data, home.endpoint_of)
    project = _project(experiment, home)
    model, changed = _model(project, home)
    facts = Facts(
        data=sources[""].digest(),
        files={part: source.digest() for part, source in sources.items() if part},
        size=sum(source.size() for source in sources.values()) if experiment.data.stream == "auto" else 0,
        model=model,
        changed=changed,
        code={step: code_digest(step, _ours(project, step)) for step in steps_for(experiment)},
        versions={step: library_versions(step) for step in steps_for(experiment)},
        trials=_trial_count(experiment),
        project=project,
    )
    return with_champion(model_files(experiment, home).into(facts), experiment, home)


def _project(experiment: Experiment, home: Home) -> Project | None:
    """The project; what looks at one is imported for one only: it takes a sixth of the time of a plan without."""
    if experiment.model.file is None and not references_in(experiment.model_dump(mode="json")):
        return None
    from tidegate.pipelines.planning.project.project import project_of

    return project_of(experiment, home, no_code(experiment, home))


def _ours(project: Project | None, step: str) -> tuple[str, ...]:
    """The modules of ours that the user's code imports which a step runs; layers of a trained model are train's."""
    return project.of("train" if step == "import" else step).ours if project else ()


def with_champion(facts: Facts, experiment: Experiment, home: Home) -> Facts:
    """The same facts with the endpoint as it is now."""
    state = load(home.store, experiment.endpoint)
    champion = _champion(state, run_id(experiment, facts), home)
    return replace(facts, champion=champion, incarnation=state.incarnation)


def with_buckets(facts: Facts, experiment: Experiment, home: Home) -> Facts:
    """The same facts with the data that lies in buckets as it is now; copies of files stay as they are.

    Raises:
        ExperimentError, StoreError: it is gone, or cannot be reached.
    """
    paths = experiment.data.paths
    sources = sources_of(experiment.data, home.endpoint_of)
    there = {part: sources[part] for part, path in paths.items() if "://" in path}
    digests = {part: source.digest() for part, source in there.items()}
    all_there = experiment.data.stream == "auto" and len(there) == len(sources)
    return replace(
        facts,
        data=digests.get("", facts.data),
        files={part: digests.get(part, digest) for part, digest in facts.files.items()},
        size=sum(source.size() for source in there.values()) if all_there else facts.size,
    )


def no_code(experiment: Experiment, home: Home) -> list[Path]:
    """What may lie in the project's folder and is none of its code: the data and the home."""
    return [home.path, *(Path(path) for path in experiment.data.paths.values() if "://" not in path)]


def keep_project_of(plan: Plan, home: Home) -> None:
    """Store what a plan needs of this machine: the project's snapshot, with what it requires installed, and the files
    of a model that the experiment names; a pod finds all in the store.

    Raises:
        PipelineError: the project changed since the run was planned, or a package cannot be had any more.
    """
    experiment, project = plan.experiment, plan.facts.project
    if IN_POD in os.environ:
        return
    keep_files(plan.facts.model_files, home.store)
    if project is None:
        return
    from tidegate.pipelines.planning.project.environment import make_environment
    from tidegate.pipelines.planning.project.project import keep_project

    keep_project(home.store, experiment, project, no_code(experiment, home))
    if experiment.code.requirements:
        make_environment(home, project.lock, Path(experiment.code.requirements))


def keep_packages(plan: Plan, home: Home) -> Facts:
    """The facts, after what the project needs installed was put into the store for pods, as archives.

    Raises:
        ExperimentError: the packages of this machine are none for a pod.
        StoreError: the store cannot be written.
    """
    project, store = plan.facts.project, home.store
    if project is None:
        return plan.facts
    from tidegate.pipelines.planning.project.environment import environment_files
    from tidegate.pipelines.planning.project.served_packages import served_files
    from tidegate.pipelines.planning.project.snapshot import keep_archive

    steps = environment_files(home, project.lock.digest)
    served = steps | served_files(project, plan.experiment.serving.runtime)
    if served and sys.platform != "linux":
        raise ExperimentError(
            f"code: the project needs packages that the images lack, and those of this machine are for {sys.platform}; "
            "expected a submit from Linux; submit from there"
        )
    packages, beside = (
        keep_archive(store, files, "packages.zip") if files else None for files in (steps, served)
    )
    return replace(plan.facts, packages=packages, served=beside)


def _model(project: Project | None, home: Home) -> tuple[str, list[str]]:
    """The identity of what training reaches with what it reads here, and which files changed; a pod reads others."""
    if project is None or "train" not in project.reach:
        return "", []
    identity = digest_of(asdict(project.of("train")))
    return model_identity(home.store, identity) if home.target is None else (identity, [])


def _champion(state: EndpointState, run: str, home: Home) -> str | None:
    """Digest of the bundle to beat: the live one; a run that passed the gate before keeps the champion it had then."""
    judged = known_run(home, run)
    live = state.release(state.current) if state.current is not None else None
    if judged is not None and (judged.status == "done" or (live is not None and live.run == run)):
        return judged.champion
    return live.bundle if live is not None else None


def _trial_count(experiment: Experiment) -> int:
    search = experiment.search
    if search is None:
        return 1
    if search.method != "grid":
        return search.trials or 1
    size = grid_size(space_of(search.space))
    return min(search.trials or size, size)


@cache
def code_digest(step: str, own: tuple[str, ...] = ()) -> str:
    """SHA-256 over the files of ours that a step can reach through its imports, by module and content.

    Args:
        step: its name.
        own: modules of ours that the user's code imports, which the step runs.
    """
    total = hashlib.sha256()
    module = MODULES.get(step, step)
    reached = reached_modules(
        [f"tidegate.pipelines.steps.{module}", *DECIDED.get(step, ()), *own],
        CHANGES_NO_RESULT,
        packages=False,
    )
    for name in reached:
        total.update(name.encode() + b"\0" + content_of(name) + b"\0")
    return total.hexdigest()


def library_versions(step: str) -> dict[str, str]:
    """Versions of the libraries that a step's result depends on, as they are installed here."""
    return {name: found for name in LIBRARIES.get(step, ()) if (found := _version(name))}


@cache
def _version(library: str) -> str | None:
    """The version of a library; None where it is not installed. Its metadata are read, for which many steps ask."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None
