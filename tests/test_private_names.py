"""The private names of dependencies that our code uses, in one table; an upgrade that changes one fails here first.

Nothing is imported: the sources of the installed packages are read. When a test fails after an upgrade, read the name
in the new version, correct what of ours uses it, and then the table.
"""

import ast
import re
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTED = {"_exit"}  # os._exit


class Use(NamedTuple):
    """One name.

    Attributes:
        module: where it is defined; alone, it is the module's own name that is used.
        name: of a function, class, variable or `Class.attribute` in it; of an attribute of any object without `Class`.
        signature: of a function, as its source has it.
        file: of ours, which uses it.
    """

    module: str
    name: str
    signature: str
    file: str


KERAS, CONFIG = "models/keras_private.py", "serving/untrusted/keras_config.py"
REPLICAS, DRAWN = "models/distributed/tensorflow_replicas.py", "dtype=None, seed=None"
PROTOCOL, SERVER = "serving/server/http_protocol.py", "infra/mlflow/server.py"
# Each dependency with the versions that its names were read in; one that stands alone is pinned to that minor.
TABLE = {
    ("keras", ("3.15",)): (
        Use(
            "keras.src.layers.layer",
            "Layer._flatten_layers",
            "self, include_self=True, recursive=True",
            KERAS,
        ),
        Use("keras.src.layers.layer", "Layer._get_call_context", "self", KERAS),
        Use("keras.src.layers.layer", "Layer._maybe_reset_call_context", "self", KERAS),
        Use("keras.src.layers.normalization.batch_normalization", "_moments", "self, inputs, mask", KERAS),
        Use("keras.src.ops.node", "_keras_history", "", KERAS),
        Use("keras.src.backend.common.masking", "_keras_mask", "", KERAS),
        Use("keras.src.backend.tensorflow.nn", "_keras_logits", "", KERAS),
        Use("keras.src.random.seed_generator", "global_seed_generator", "", KERAS),
        Use("keras.src.backend.common.dtypes", "BIT64_TO_BIT32_DTYPE", "", KERAS),
        Use("keras.src.backend.tensorflow", "random", "", KERAS),
        Use(
            "keras.src.backend.tensorflow.random", "normal", f"shape, mean=0.0, stddev=1.0, {DRAWN}", REPLICAS
        ),
        Use(
            "keras.src.backend.tensorflow.random",
            "truncated_normal",
            f"shape, mean=0.0, stddev=1.0, {DRAWN}",
            REPLICAS,
        ),
        Use(
            "keras.src.backend.tensorflow.random",
            "uniform",
            f"shape, minval=0.0, maxval=1.0, {DRAWN}",
            REPLICAS,
        ),
        Use(
            "keras.src.backend.tensorflow.random",
            "randint",
            "shape, minval, maxval, dtype='int32', seed=None",
            REPLICAS,
        ),
        Use(
            "keras.src.backend.tensorflow.random",
            "dropout",
            "inputs, rate, noise_shape=None, seed=None",
            REPLICAS,
        ),
        Use("keras.src.models.sequential", "_functional", "", KERAS),
        Use("keras.src.models.functional", "Functional", "", KERAS),
        Use("keras.src.models.functional", "Functional._standardize_inputs", "self, inputs", KERAS),
        Use("keras.src.models.functional", "operation_fn", "operation, **call_context_args", KERAS),
        Use(
            "keras.src.ops.function",
            "Function._run_through_graph",
            "self, inputs, operation_fn=lambda op: op, call_fn=None",
            KERAS,
        ),
        Use("keras.src.ops.function", "_outputs_struct", "", KERAS),
        Use("keras.src.tree.tree_api", "register_tree_node_class", "cls", KERAS),
        # Names of classes as they stand in .keras files.
        Use("keras.src.models.functional", "", "", CONFIG),
        Use("keras.src.models.sequential", "", "", CONFIG),
        Use("keras.src.ops", "", "", CONFIG),
    ),
    ("mlflow", ("3.17",)): (
        Use("mlflow.environment_variables", "_MLFLOW_SERVER_BOOT_ID", "", SERVER),
        Use("mlflow.environment_variables", "_MLFLOW_IN_JOB_EXECUTOR", "", SERVER),
        Use("mlflow.environment_variables", "_MLFLOW_SGI_NAME", "", SERVER),
        Use(
            "mlflow.models.utils",
            "_save_example",
            "mlflow_model: Model, input_example: ModelInputExample | None, path: str",
            "infra/mlflow/model.py",
        ),
        Use(
            "mlflow.store.artifact.artifact_repository_registry",
            "_artifact_repository_registry",
            "",
            "infra/mlflow/cluster_server.py",
        ),
    ),
    ("uvicorn", ("0.45", "0.54")): (
        Use(
            "uvicorn.protocols.http.httptools_impl",
            "HttpToolsProtocol._start_asgi_task",
            "self, cycle: RequestResponseCycle, app: ASGI3Application",
            PROTOCOL,
        ),
        # Public by their names and not documented.
        Use("uvicorn.protocols.http.httptools_impl", "STATUS_LINE", "", PROTOCOL),
        Use(
            "uvicorn.protocols.http.httptools_impl",
            "HttpToolsProtocol.on_response_complete",
            "self",
            PROTOCOL,
        ),
        Use(
            "uvicorn.protocols.http.httptools_impl",
            "HttpToolsProtocol.send_400_response",
            "self, msg: str",
            PROTOCOL,
        ),
        Use(
            "uvicorn.protocols.http.httptools_impl",
            "HttpToolsProtocol.timeout_keep_alive_handler",
            "self",
            PROTOCOL,
        ),
    ),
    ("bentoml", ("1.4",)): (
        Use(
            "_bentoml_sdk.service.factory",
            "Service.to_asgi",
            "self, is_main: bool=True",
            "serving/server/service.py",
        ),
        Use("_bentoml_sdk.service.factory", "Service.openapi_spec", "self", "serving/server/service.py"),
    ),
}
USES = [use for uses in TABLE.values() for use in uses]


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.module}:{use.name}")
def test_the_name_is_there_and_takes_what_it_took(use: Use) -> None:
    assert signature(use.module, use.name) == use.signature


@pytest.mark.parametrize(("dependency", "read"), TABLE)
def test_the_installed_version_is_one_that_was_read(dependency: str, read: tuple[str, ...]) -> None:
    installed = ".".join(version(dependency).split(".")[:2])
    assert installed in read, (
        f"{dependency} {installed} is installed; read its names again, then correct the table"
    )


@pytest.mark.parametrize(("dependency", "read"), TABLE)
def test_no_version_that_was_not_read_may_be_installed(dependency: str, read: tuple[str, ...]) -> None:
    wanted = re.findall(rf'"{dependency}(?:-skinny)?([=<>][^";]*)', (ROOT / "pyproject.toml").read_text())
    assert wanted
    major, minor = read[-1].split(".")
    bounds = (f"<{major}.{int(minor) + 1}", f"=={read[-1]}.")
    assert all(any(bound in one for bound in bounds) for one in wanted), wanted


def test_every_private_name_of_ours_is_in_the_table() -> None:
    files = [
        file for room in ("models", "pipelines", "serving", "infra") for file in (ROOT / room).rglob("*.py")
    ]
    trees = {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}
    everywhere = set().union(*map(attributes_defined, trees.values()))
    found = {(file, name) for file, tree in trees.items() for name in private_names(tree, everywhere)}
    assert found - {(use.file, last(use)) for use in USES} == set(), "read them, bound the version, add them"


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.file}:{use.module}:{use.name}")
def test_the_table_holds_nothing_that_is_not_used(use: Use) -> None:
    assert last(use) in (ROOT / use.file).read_text()


def last(use: Use) -> str:
    """The last part of a name, by which a use is found."""
    return (use.name or use.module).rpartition(".")[2]


# --- what a dependency defines -----------------------------------------------------------------------------


@cache
def source(module: str) -> ast.Module:
    """A module's source; only the top package is looked up, since looking up a module imports those above it."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    assert spec is not None and spec.submodule_search_locations, f"{top} is not installed"
    place = Path(spec.submodule_search_locations[0]).joinpath(*rest)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    assert file.is_file(), f"there is no module {module} any more"
    return ast.parse(file.read_text())


def signature(module: str, name: str) -> str:
    """The arguments of a function as its source has them; "" for all else. AssertionError where nothing is named so."""
    tree: ast.AST = source(module)
    owner, _, attribute = name.rpartition(".")
    if owner:
        classes = [one for one in ast.walk(tree) if isinstance(one, ast.ClassDef) and one.name == owner]
        assert classes, f"{module} has no class {owner} any more"
        tree = classes[0]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for one in ast.walk(tree):
        if isinstance(one, functions) and one.name == attribute:
            return ast.unparse(one.args)
    assert not attribute or attribute in names(tree), f"{module} has no {name} any more"
    return ""


def names(tree: ast.AST) -> set[str]:
    """Classes, variables and attributes that are set, names that are imported, and attributes named in strings."""
    found: set[str] = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.ClassDef):
            found.add(one.name)
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.add(one.id)
        elif isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            found.add(one.attr)
        elif isinstance(one, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in one.names}
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            found.add(one.value)
    return found


# --- what our code uses ------------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    """Whether the underscore says that it is for its own package only."""
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def attributes_defined(tree: ast.AST) -> set[str]:
    """Names of attributes that a module's own classes have."""
    found: set[str] = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.ClassDef):
            for line in one.body:
                if isinstance(line, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.add(line.name)
                found |= {part.id for part in ast.walk(line) if isinstance(part, ast.Name)}
        elif isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and names_self(one.value):
            found.add(one.attr)
    return found


def names_self(base: ast.AST) -> bool:
    """Whether an attribute is one of an object of ours, seen from within."""
    return isinstance(base, ast.Name) and base.id in ("self", "cls")


def private_names(tree: ast.AST, everywhere: set[str]) -> set[str]:
    """The last parts of names that a module has from others and that are private there."""
    ours, found = attributes_defined(tree), set[str]()
    for one in ast.walk(tree):
        if isinstance(one, ast.Attribute) and is_private(one.attr):
            own = everywhere if names_self(one.value) else ours
            if one.attr not in own or is_call_of(
                one.value, "super"
            ):  # what is ours below may be theirs above
                found.add(one.attr)
        elif isinstance(one, ast.ImportFrom) and one.module and not one.module.startswith("tidegate"):
            inside = is_inside(one.module)
            found |= {alias.name for alias in one.names if inside or is_private(alias.name)}
        elif isinstance(one, ast.Import):
            found |= {alias.name.rpartition(".")[2] for alias in one.names if is_inside(alias.name)}
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            if re.fullmatch(r"keras\.src[\w.]*|_keras_\w+", one.value):
                found.add(one.value.rstrip(".").rpartition(".")[2])
        elif isinstance(one, ast.Call) and is_call_of(one, "getattr", "setattr", "hasattr", "delattr"):
            found |= private_strings(one.args[1:2])
        elif isinstance(one, ast.Subscript) and is_call_of(one.value, "vars"):
            found |= private_strings([one.slice])
    return found


def is_call_of(node: ast.AST, *functions: str) -> bool:
    """Whether one of Python's own functions is called."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions


def is_inside(module: str) -> bool:
    """Whether a module lies where its package keeps what is its own."""
    return any(is_private(part) or part == "src" for part in module.split("."))


def private_strings(parts: list[ast.expr]) -> set[str]:
    """The private names among expressions, as strings."""
    constants = (one.value for one in parts if isinstance(one, ast.Constant))
    return {value for value in constants if isinstance(value, str) and is_private(value)}
