"""The project of an experiment, as a plan needs it: its snapshot, and what each step reaches of it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from tidegate.infra.store import Store
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.code import REFERENCES, above_package, references_in
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.project.closure import Closure, closure_of
from tidegate.pipelines.planning.project.lock import lock_of
from tidegate.pipelines.planning.project.parts import SERVED, Lock, Project, Reach
from tidegate.pipelines.planning.project.shadowing import of_packages, shadowing
from tidegate.pipelines.planning.project.snapshot import checked_files, keep_snapshot, snapshot_of
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.import_closure import imports_in


def project_of(experiment: Experiment, home: Home, leave_out: Sequence[Path]) -> Project | None:
    """The project of an experiment; None where it has no code of its own.

    Args:
        experiment: its paths absolute.
        home: where locks are kept.
        leave_out: files and folders that are no code: the data, the home.

    Raises:
        ExperimentError: the folder, a link in it, its size, the model's place, or a requirement is wrong.
    """
    references, file = references_in(experiment.model_dump(mode="json")), experiment.model.file
    if not references and file is None:
        return None
    folder = _folder(experiment)
    files = project_files(experiment, leave_out)
    source = _inside(folder, file) if file else ""
    roots = roots_of(files)
    reach, taken = {}, list(roots)
    for name, keys in _keys_by_step().items():
        modules = [one.partition(":")[0] for key in keys for one in references.get(key, ())]
        closure = closure_of(files, modules, [source] if source and name == "train" else [], roots)
        taken += [root for root in closure.roots if root not in taken]
        if closure.files or closure.packages:
            reach[name] = _reach(closure, files)
    model = source or next(iter(references.get("model.function", ())), "")
    transform = next(iter(references.get("data.transform", ())), "")
    lock = lock_of(Path(experiment.code.requirements), home) if experiment.code.requirements else Lock()
    env = dict(experiment.code.env)
    kept, hiding = _without_shadows(files, taken, reach)
    return Project(
        str(folder), snapshot_of(kept), tuple(taken), model, transform, reach, env, lock, tuple(kept), hiding
    )


def project_files(experiment: Experiment, leave_out: Sequence[Path]) -> dict[str, Path]:
    """The files of the snapshot by their path in the project; the model file is one of them, ignored by git or not."""
    folder, file = _folder(experiment), experiment.model.file
    files = checked_files(folder, [path for path in leave_out if not folder.is_relative_to(path)])
    return {**files, **({_inside(folder, file): Path(file)} if file else {})}


def keep_project(
    store: Store, experiment: Experiment, project: Project | None, leave_out: Sequence[Path]
) -> None:
    """Store the snapshot, so that steps run from it whatever happens to the project.

    Raises:
        PipelineError: the project changed since the run was planned.
    """
    if project is not None and not store.has(project.snapshot):
        files = project_files(experiment, leave_out)
        kept = {name: files[name] for name in project.files if name in files}
        keep_snapshot(store, kept, project.snapshot)


def _folder(experiment: Experiment) -> Path:
    """The project's folder; the record of a run of an earlier version names only the model file."""
    return Path(experiment.code.path or above_package(Path(experiment.model.file or "").parent))


def _keys_by_step() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {SERVED: ["data.transform"]}
    for key, step in REFERENCES.items():
        found.setdefault(step, []).append(key)
    return found


def roots_of(files: Mapping[str, Path]) -> tuple[str, ...]:
    """The folders that imports start from: the project's, and `src` where packages lie in it and it is none itself."""
    source = any(name.startswith("src/") for name in files) and "src/__init__.py" not in files
    return (".", "src") if source else (".",)


def _without_shadows(
    files: dict[str, Path], roots: Sequence[str], reach: Mapping[str, Reach]
) -> tuple[dict[str, Path], dict[str, str]]:
    """The files without those that would hide a module of a library from it, and these; none of them may be reached.

    Raises:
        ExperimentError: one is.
    """
    reached = {name for one in reach.values() for name in one.files}
    left_out, hiding = set[str](), dict[str, str]()
    for file, module in shadowing(files, roots).items():
        if file in reached:
            raise ExperimentError(
                f"code.path: {file} of the project hides the module {module}, which libraries import, from them; "
                "expected another name; rename it"
            )
        left_out |= set(of_packages(file, files)) - reached
        hiding[file.removesuffix("__init__.py")] = module
    return {name: path for name, path in files.items() if name not in left_out}, hiding


def _inside(folder: Path, file: str) -> str:
    path = Path(file)
    if not path.is_relative_to(folder):
        raise ExperimentError(
            f"model.file: {file} lies outside of the project {folder}; expected a file of it; correct code.path"
        )
    return path.relative_to(folder).as_posix()


def _reach(closure: Closure, files: Mapping[str, Path]) -> Reach:
    digests, ours = {}, set[str]()
    for name in closure.files:
        content = files[name].read_bytes()
        digests[name] = hashlib.sha256(content).hexdigest()
        if name.endswith(".py"):
            ours |= set(imports_in(content.decode("utf-8", "replace")))
    return Reach(digests, dict(_versions(closure.packages)), tuple(sorted(ours)))


def _versions(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Distributions and versions of top-level modules; of one that is not installed nothing: its import says so."""
    for name in names:
        try:
            yield name, version(name)  # most are called like their module, and the list of all takes 0.3 s
        except PackageNotFoundError:
            yield from ((one, version(one)) for one in sorted(set(_distributions().get(name, ()))))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
