"""Checks a Keras model's configuration: it may name Keras' own layers and their parts, and the experiment's classes.

Keras builds whatever object a configuration names. So every named object is first looked up here, in a list of allowed
ones; layers that run code, read files or load other formats are not on it.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.models.user_code.code_folder import FILES, is_code_folder, read_code

# The names under which training and the endpoint import the experiment's model file.
OWN_MODULES = {"tidegate_user_model", "my_model"}
# Values that Keras writes as objects. Not allowed: __lambda__ (marshalled code) and __typespec__.
PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
CLASSES = {
    "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations",
    "keras.dtype_policies", "keras.quantizers", "keras.losses", "keras.metrics", "keras.optimizers",
    "keras.optimizers.schedules", "keras.src.models.functional", "keras.src.models.sequential",
}  # fmt: skip
TOP = {"Sequential", "Model", "Functional", "DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy"}
OPERATIONS = "keras.src.ops."
FUNCTIONS = {"builtins", "keras.activations", "keras.ops", "keras.losses", "keras.metrics"}
LOADERS = {"get", "deserialize", "serialize"}
UNSAFE = {
    "Lambda": "runs code that is kept in the file",
    "TFSMLayer": "loads another model by its path",
    "TorchModuleWrapper": "unpickles a Torch module",
    "JaxLayer": "runs a function that is kept in the file",
    "FlaxLayer": "runs a function that is kept in the file",
}
# Lists that Keras reads from a file, or from the network, where there is a path in their place.
LISTS = ("vocabulary", "idf_weights")

# Each of them is the length of a weight, which Keras allocates before it reads the weights' file.
SIZES = ("units", "filters", "input_dim", "output_dim", "num_heads", "key_dim", "value_dim")

Fault = tuple[str, str]


def fault_of(config: Any, code: Path | None) -> Fault | None:
    """The first fault of a configuration: what was found and what was expected; None if there is none.

    Args:
        config: the parsed configuration.
        code: the `code.json` of the user's code, or a model file; None allows only Keras' own classes.
    """
    packages = _packages(code)
    for node in _objects(config):
        fault = _fault_of_lists(node)
        if fault is None and "class_name" in node:
            fault = _fault_of_object(node, packages)
        if fault is not None:
            return fault
    return None


def largest_size(config: Any) -> int:
    """The largest length of a weight in the configuration; 0 where there is none."""
    sizes = (node.get(name) for node in _objects(config) for name in SIZES)
    return max((size for size in sizes if isinstance(size, int)), default=0)


def _objects(root: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, without recursion, because the sender chooses the depth."""
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _packages(code: Path | None) -> set[str]:
    """The top-level modules whose classes may be named: those of the user's code and the packages that it imports."""
    if code is None:
        return set()
    found = set(OWN_MODULES)
    files = sorted((code.parent / FILES).rglob("*.py")) if is_code_folder(code) else [code]
    if is_code_folder(code):
        roots = read_code(code).roots
        found |= {path.stem for root in roots for path in (code.parent / FILES / root).iterdir()}
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_bytes()))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"keras"}


def _fault_of_lists(node: dict[str, Any]) -> Fault | None:
    name = next((name for name in LISTS if isinstance(node.get(name), str)), None)
    if name is None:
        return None
    return f"its configuration reads {name} from {node[name]!r}", "the words themselves"


def _fault_of_object(node: dict[str, Any], packages: set[str]) -> Fault | None:
    kind, module = node["class_name"], node.get("module")
    if isinstance(kind, str) and kind in PLAIN:
        return None
    if kind == "function":
        return _fault_of_function(node, packages)
    if isinstance(kind, str) and kind in UNSAFE:
        return f"it has the layer {kind}, which {UNSAFE[kind]}", "layers that are data"
    if not _is_allowed(module, kind, packages):
        known = (
            "classes of Keras" if not packages else "classes of Keras and of the experiment's own model file"
        )
        return f"its configuration names the class {kind!r} of {module!r}", known
    registered = node.get("registered_name")
    if registered in (None, kind) or packages:
        return None
    return f"its configuration names the registered object {registered!r}", "objects of Keras only"


def _is_allowed(module: Any, kind: Any, packages: set[str]) -> bool:
    if not isinstance(module, str) or not isinstance(kind, str) or not kind.isidentifier():
        return False
    if module.split(".")[0] in packages:
        return True
    if not kind[0].isupper():
        return False
    return module in CLASSES or module.startswith(OPERATIONS) or (module == "keras" and kind in TOP)


def _fault_of_function(node: dict[str, Any], packages: set[str]) -> Fault | None:
    name, module = node.get("config"), node.get("module")
    own = isinstance(module, str) and module.split(".")[0] in packages
    plain = isinstance(name, str) and name.replace(">", "").isidentifier() and name not in LOADERS
    if plain and (module in FUNCTIONS or own):
        return None
    return (
        f"its configuration names the function {name!r} of {module!r}",
        "activations and operations of Keras",
    )
