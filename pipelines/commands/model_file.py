"""The user's model file, looked at as text before any step runs: nothing of it is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tidegate.pipelines.errors import ExperimentError, nearest


def check_model_file(file: str | None, builds: bool = True) -> None:
    """Find a broken model file now, not after the data was prepared.

    Args:
        file: its path, or None.
        builds: whether it must define `build`; beside a trained model it defines layers.

    Raises:
        ExperimentError: it cannot be read, is not Python, or has no `build`.
    """
    if file is None:
        return
    path = Path(file)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise ExperimentError(
            f"model.file: {path} cannot be read: {error.strerror}; paths resolve against the experiment file"
        ) from error
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ExperimentError(f"model.file: {path}{line}: not Python: {error}") from error
    names = _names_bound(tree)
    if builds and "build" not in names:
        raise ExperimentError(
            f"model.file: {path} defines no build(){nearest('build', names)}; "
            "expected: def build(inputs, outputs, **options) that returns a keras.Model"
        )


def names_in(file: str) -> set[str]:
    """What a model file defines or imports; nothing of one that `check_model_file` refuses."""
    try:
        return _names_bound(ast.parse(Path(file).read_text(encoding="utf-8")))
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return set()


def _names_bound(tree: ast.Module) -> set[str]:
    return {name for node in tree.body for name in _bound_names(node)}


def _bound_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Name):
            yield target.id
    for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
        yield alias.asname or alias.name
