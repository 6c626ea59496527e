"""The user's own code, looked at as text before any step runs: nothing of it is run."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tidegate.models.errors import UserCodeError
from tidegate.models.user_code.secrets import read_secret
from tidegate.pipelines.errors import ExperimentError, nearest
from tidegate.pipelines.experiment.code import references_in
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.facts import no_code
from tidegate.pipelines.planning.project.closure import closure_of, module_files
from tidegate.pipelines.planning.project.project import project_files, roots_of
from tidegate.pipelines.state.home import Home


def check_own_code(experiment: Experiment, home: Home) -> None:
    """Find a broken reference or a missing secret now, not after the data was prepared.

    Raises:
        ExperimentError: a module or a name is not there, a file that would be imported is not Python, or a secret is
            missing or may be read by others.
    """
    if home.target is None:  # a cluster has its own
        _check_secrets(experiment.code.secrets, home)
    references = references_in(experiment.model_dump(mode="json"))
    if not references:
        return
    files = project_files(experiment, no_code(experiment, home))
    for option, texts in references.items():
        for text in texts:
            _check_reference(text, option, files, sure=experiment.code.requirements is None)


def _check_secrets(names: Sequence[str], home: Home) -> None:
    try:
        for name in names:
            read_secret(home.path, name)
    except UserCodeError as error:
        raise ExperimentError(str(error)) from error


def _check_reference(text: str, option: str, files: Mapping[str, Path], sure: bool) -> None:
    module, _, name = text.partition(":")
    roots = roots_of(files)
    found = module_files(files, module, roots)
    if not found:
        if sure and not _is_installed(module.split(".")[0]):
            raise ExperimentError(
                f"{option}: there is no module {module} for {text!r}{nearest(module, _modules(files, roots))}; "
                "expected one in the project's folder or among the installed packages; correct the name, or code.path"
            )
        return
    for file in closure_of(files, [module], [], roots).files:
        _parsed(files[file]) if file.endswith(".py") else None
    names = _names(_parsed(files[found[-1]]))
    if name.split(".")[0] not in names and "*" not in names and "__getattr__" not in names:
        raise ExperimentError(
            f"{option}: {files[found[-1]]} has no {name!r}{nearest(name, names)}; expected what {text!r} names; "
            "correct it"
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ExperimentError(f"code: {path}{line}: not Python: {error}; correct it") from error


def _modules(files: Mapping[str, Path], roots: tuple[str, ...]) -> Iterator[str]:
    for file in files:
        for root in roots:
            prefix = "" if root == "." else f"{root}/"
            if file.endswith(".py") and file.startswith(prefix):
                yield (
                    file.removeprefix(prefix).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                )


def _names(tree: ast.Module) -> set[str]:
    """What a module may define or import, wherever it stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return found
