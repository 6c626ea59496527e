"""The module that builds the user's model, from a file or a reference, and the classes that its project defines."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from tidegate.models.errors import UserCodeError, UserModelError, one_line
from tidegate.models.user_code.code_folder import FILES, is_code_folder, use_code
from tidegate.models.user_code.importing import importing
from tidegate.models.user_code.own_classes import make_loadable
from tidegate.models.user_code.project import in_project, project_modules, project_roots
from tidegate.models.user_code.references import is_reference, load_reference

NO_DOWNLOAD = (
    "; a step should download nothing: put the weights' file beside the code and load it from there, or name it as "
    "model.weights, here or in a bucket, and build() gets its path"
)
SHAPE = "def build(inputs, outputs, **options): return keras.Model(inputs, outputs.layer(x))"
MODULE = "tidegate_user_model"  # the name of a model file's module where its package gives it none


def require_file(path: Path) -> None:
    """Refuse a model file that does not exist or is not a Python file.

    Raises:
        UserModelError: says what was expected.
    """
    if not path.is_file():
        raise UserModelError(
            f"model file {path} does not exist; expected a Python file with {SHAPE}; correct model.file"
        )
    if path.suffix != ".py":
        raise UserModelError(
            f"model file {path} is not a .py file; expected a Python file with {SHAPE}; correct model.file"
        )


def own_source(model: Mapping[str, Any]) -> Path | None:
    """The user's file that a `model:` section names, by `file` or by `function`; None: a family makes the model.

    Raises:
        UserCodeError: the function's module cannot be found.
    """
    if model.get("file"):
        return Path(model["file"])
    if model.get("function"):
        load_reference(model["function"], "model.function")
        make_loadable(*project_modules())
        module = sys.modules[str(model["function"]).partition(":")[0]]
        return Path(module.__file__ or "")
    return None


def model_module(path: Path) -> ModuleType:
    """Run a model file and return it as a module.

    In a package, a file that imports relatively is imported by its full name; any other file stands by itself, so that
    the package that it lies in is not run.

    Raises:
        UserModelError: it does not exist, is not Python, or raises; names file and line.
    """
    require_file(path)
    try:
        name = _full_name(path) if _imports_relatively(path) else ""
        with importing(f"importing {path.name}"):
            module = importlib.import_module(name) if name else _run(path)
    except UserCodeError:
        raise
    except SyntaxError as error:
        raise UserModelError(f"{error.filename or path}:{error.lineno}: syntax error: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise user_error(path, error, "importing the file raised") from error
    make_loadable(module, *project_modules())
    return module


def custom_objects(code: Path) -> dict[str, Any]:
    """The classes and functions that the user's code defines, by name; Keras needs them to load a model.

    Args:
        code: a model file, or a `code.json`; of a project in use, the modules that were imported count too.
    """
    model = _model_of(code)
    modules = [*project_modules(), *([model] if model else [])]
    return {
        name: one
        for module in modules
        for name, one in vars(module).items()
        if callable(one) and getattr(one, "__module__", "") == module.__name__
    }


def _model_of(code: Path) -> ModuleType | None:
    if not is_code_folder(code):
        imported = any(Path(module.__file__ or "") == code for module in project_modules())
        return None if imported else model_module(code)
    source = use_code(code).model
    if is_reference(source):
        load_reference(source, "model.function")
        make_loadable(*project_modules())
        return None  # it is one of the project's modules
    return model_module(code.parent / FILES / source) if source else None


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec and spec.loader
    module = sys.modules[MODULE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _imports_relatively(path: Path) -> bool:
    tree = ast.parse(path.read_bytes(), str(path))
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _full_name(path: Path) -> str:
    """The name below the nearest root that its relative imports start from; "" where there is none."""
    roots = [root for root in project_roots() if path.parent.resolve().is_relative_to(root)]
    parents = [root for root in roots if root != path.parent.resolve()]
    if not parents:
        return ""
    root = max(parents, key=lambda one: len(one.parts))
    return ".".join(path.resolve().relative_to(root).with_suffix("").parts)


def user_error(path: Path, error: BaseException, what: str, most: int = 500) -> UserModelError:
    """The error that names the line of the user's code at which something was raised.

    Args:
        path: the model's file; other files of the project count too.
        error: what was raised.
        what: was done, such as "build() raised".
        most: characters of the message.
    """
    cause = one_line(error)[:most] or "no message"
    fix = NO_DOWNLOAD if _is_download(error) else ""
    return UserModelError(f"{_place(path, error.__traceback__)}: {what} {type(error).__name__}: {cause}{fix}")


def _is_download(error: BaseException | None) -> bool:
    """Whether something could not be downloaded, which libraries raise as errors of many kinds."""
    from socket import gaierror
    from urllib.error import URLError

    while error is not None:
        if isinstance(error, URLError | ConnectionError | gaierror) or "URL fetch failure" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(path: Path, trace: TracebackType | None) -> str:
    """File and line of the innermost frame in the user's own code; deeper frames are in a library that it calls."""
    place = f"{path}:1"
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file == path or in_project(file):
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
