"""The user's model file, looked at as text before any step runs: nothing of it is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tidegate.pipelines.errors import ExperimentError, nearest


def check_model_file(file: str | None) -> None:
    """Find a broken model file now, not after the data was prepared.

    Raises:
        ExperimentError: it cannot be read, is not Python, imports from its folder, or has no `build`.
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
    _check_imports(path, tree)
    names = _names_bound(tree)
    if "build" not in names:
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


def _check_imports(path: Path, tree: ast.Module) -> None:
    """Refuse imports from the same folder: a run stores the model file only, so they could change unnoticed."""
    for line, module in _imported(tree):
        top = module.split(".")[0]
        if (
            not top
            or path.with_name(f"{top}.py").is_file()
            or (path.with_name(top) / "__init__.py").is_file()
        ):
            raise ExperimentError(
                f"model.file: {path}:{line}: imports {module or 'a relative module'} from its folder; expected one "
                "file that has all it needs, so that a run can store it by content; move that code into the file, or "
                "install it as a package"
            )


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every module imported; a relative one has an empty name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "" if node.level else node.module or ""


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
