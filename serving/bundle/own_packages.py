"""The packages that the user's code in a bundle needs: what it pins and imports, and what its rows are given as."""

import ast
import sys
from importlib.metadata import packages_distributions, version

from tidegate.models.user_code.code_folder import CodeFolder, is_code_folder
from tidegate.serving.bundle.bundle import Bundle


def own_packages(bundle: Bundle) -> dict[str, str]:
    """Package -> version, of those that are installed here; none without code of the user's."""
    code = bundle.code
    if code is None:
        return {}
    known = packages_distributions()  # 0.3 s
    pins = CodeFolder.model_validate_json(code.read_bytes()).pins if is_code_folder(code) else {}
    imported = {known[name][0] for name in _imported(bundle) | _given_as(bundle) if name in known}
    return pins | {package: version(package) for package in sorted(imported - set(pins))}


def _given_as(bundle: Bundle) -> set[str]:
    """The library of the tables that the transform is called with."""
    own = bundle.transforms.own
    tables = {"pandas": {"pandas"}, "polars": {"pandas", "polars"}, "pyarrow": {"pandas", "pyarrow"}}
    return set() if own is None else tables.get(own.content.takes, set())


def _imported(bundle: Bundle) -> set[str]:
    """The packages that the code imports, without those of Python, of the project and of ours."""
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
