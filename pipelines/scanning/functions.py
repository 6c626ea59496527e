"""The functions of a project, read from its text: what they take, what they call, and what they may be for."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

KERAS = ("keras", "tensorflow", "tf_keras")
MODELS = ("Model", "Sequential")
TARGET = re.compile(r"y$|y_|yt|label|target")  # how variables of a target begin
READERS = (
    *(
        "read_csv",
        "read_parquet",
        "read_json",
        "read_feather",
        "read_table",
        "scan_parquet",
        "load",
        "loadtxt",
        "open",
    ),
)


@dataclass(frozen=True)
class Function:
    """A function at the top of a module.

    Attributes:
        module: its full name.
        place: file and line in the project.
        required: arguments without a default.
        defaults: arguments with one, as it is written.
        returns: the annotation, as it is written.
        calls: the last names of what it calls.
        columns: texts by which its first argument is subscripted.
        uses_keras: whether its module imports Keras or TensorFlow.
        models: classes of its module that are models.
        in_script: whether an import of its module would train.
    """

    module: str
    name: str
    place: str
    required: tuple[str, ...]
    defaults: Mapping[str, str]
    returns: str
    calls: frozenset[str]
    columns: tuple[str, ...]
    uses_keras: bool
    models: tuple[str, ...] = ()
    in_script: bool = False

    @property
    def reference(self) -> str:
        """As the experiment file names it."""
        return f"{self.module}:{self.name}"

    @property
    def makes_model(self) -> bool:
        """Whether it seems to return a Keras model, and not to train it."""
        made = self.calls & {*MODELS, *self.models} or self.returns.split(".")[-1] in MODELS
        as_ours = {"inputs", "outputs"} <= {*self.required, *self.defaults}
        return self.uses_keras and (bool(made) or as_ours) and not self.trains

    @property
    def trains(self) -> bool:
        """Whether it calls `fit`."""
        return "fit" in self.calls

    @property
    def reads(self) -> bool:
        """Whether it opens files."""
        return bool(self.calls & set(READERS))


@dataclass(frozen=True)
class Module:
    """A Python file of the project.

    Attributes:
        calls: each call in it, but for those in functions that make models.
        constants: literals at its top.
        targets: texts that it takes for columns to predict.
    """

    name: str
    functions: tuple[Function, ...]
    calls: tuple[ast.Call, ...] = field(repr=False)
    constants: Mapping[str, Any]
    targets: tuple[str, ...]


def modules_in(folder: Path, files: Sequence[Path]) -> list[Module]:
    """Every Python file that can be parsed; `src` is a folder that imports start from, unless it is a package."""
    root = (
        folder / "src" if (folder / "src").is_dir() and not (folder / "src/__init__.py").exists() else folder
    )
    found = []
    for file in (file for file in files if file.suffix == ".py"):
        base = root if file.is_relative_to(root) else folder
        parts = file.relative_to(base).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if all(part.isidentifier() for part in name.split(".")):
            found += _parsed(file, file.relative_to(folder).as_posix(), name)
    return found


def _parsed(file: Path, place: str, name: str) -> list[Module]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (
        OSError,
        SyntaxError,
        ValueError,
        RecursionError,
    ):  # it is no Python of this version; nothing is said of it
        return []
    uses_keras = any(module.split(".")[0] in KERAS for module in _imported(tree))
    classes = tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef) and _is_model(node))
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    functions = [_function(node, name, place, uses_keras, classes) for node in nodes]
    if _trains_on_import(tree):
        functions = [replace(function, in_script=True) for function in functions]
    makers = [node for node, function in zip(nodes, functions, strict=True) if function.makes_model]
    others = [node for node in tree.body if node not in makers]
    calls = tuple(inner for node in others for inner in ast.walk(node) if isinstance(inner, ast.Call))
    targets = tuple(dict.fromkeys(_targets(tree)))
    return [Module(name, tuple(functions), calls, dict(_constants(tree)), targets)]


def _trains_on_import(tree: ast.Module) -> bool:
    """Whether `fit` is called outside of functions, classes and `if` blocks such as that of `__main__`."""
    lines = (node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If))
    calls = (inner for node in lines for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return any(called(call) == "fit" for call in calls)


def _is_model(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split(".")[-1] in MODELS for base in node.bases)


def _function(
    node: ast.FunctionDef, module: str, place: str, uses_keras: bool, models: tuple[str, ...]
) -> Function:
    positional = [*node.args.posonlyargs, *node.args.args]
    late = len(positional) - len(node.args.defaults)
    given = dict(zip([one.arg for one in positional[late:]], node.args.defaults, strict=True))
    named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    given |= {one.arg: default for one, default in named if default is not None}
    everything = [one.arg for one in (*positional, *node.args.kwonlyargs)]
    return Function(
        module,
        node.name,
        f"{place}:{node.lineno}",
        tuple(name for name in everything if name not in given),
        {name: ast.unparse(default) for name, default in given.items()},
        "" if node.returns is None else ast.unparse(node.returns),
        frozenset(
            name for inner in ast.walk(node) if isinstance(inner, ast.Call) for name in [called(inner)]
        ),
        tuple(dict.fromkeys(_subscripts(node, everything[0]))) if everything else (),
        uses_keras,
        models,
    )


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    made = call.func
    return made.attr if isinstance(made, ast.Attribute) else made.id if isinstance(made, ast.Name) else ""


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _subscripts(tree: ast.AST, name: str) -> Iterator[str]:
    """The texts in `name["text"]`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield from _texts(node.slice)


def _texts(node: ast.expr) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _constants(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                yield node.targets[0].id, ast.literal_eval(node.value)
            except (ValueError, TypeError, MemoryError):
                continue


def _targets(tree: ast.Module) -> Iterator[str]:
    """Columns that become a `y`, or are popped, as a target is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from _assigned(node)
        elif isinstance(node, ast.Call) and called(node) == "pop" and node.args:
            yield from _texts(node.args[0])


def _assigned(node: ast.Assign) -> Iterator[str]:
    """`y = frame["churned"]…`, also within `x, y = …`."""
    pairs = [(target, node.value) for target in node.targets]
    for target, value in pairs:
        if (
            isinstance(target, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(target.elts) == len(value.elts)
        ):
            pairs += list(zip(target.elts, value.elts, strict=True))
        elif isinstance(target, ast.Name) and (
            target.id == "y" or target.id.startswith(("y_", "yt", "label", "target"))
        ):
            inside = (inner.slice for inner in ast.walk(value) if isinstance(inner, ast.Subscript))
            yield from (text for part in inside for text in _texts(part))
