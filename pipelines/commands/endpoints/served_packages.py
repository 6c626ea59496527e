"""The packages that an ejected release needs: the server's, the runtime's, and those of the project's code."""

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version

from tidegate.models.user_code.code_folder import CodeFolder, is_code_folder
from tidegate.serving.bundle.bento import requirements
from tidegate.serving.bundle.bundle import Bundle

NEEDED = ("numpy", "pillow", "pydantic", "starlette", "uvicorn")


def packages_of(bundle: Bundle) -> Iterator[str]:
    """The pinned packages of the server, the runtime and the project's own code."""
    yield from requirements(bundle.manifest.runtime, NEEDED)
    code = bundle.code
    pins = CodeFolder.model_validate_json(code.read_bytes()).pins if code and is_code_folder(code) else {}
    known = packages_distributions()
    imported = {known[name][0] for name in _imported_by_code(bundle) if name in known}
    pins |= {package: version(package) for package in imported - {*NEEDED, *pins}}
    yield from (f"{package}=={number}" for package, number in pins.items())


def _imported_by_code(bundle: Bundle) -> set[str]:
    """The packages that the project's own code imports, without those of Python, of the project and of ours."""
    names = set[str]()
    for file in bundle.code_files:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    own = {
        part for file in bundle.code_files for part in file.with_suffix("").relative_to(bundle.folder).parts
    }
    return names - own - set(sys.stdlib_module_names) - {"tidegate"}
