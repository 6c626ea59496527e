"""What the project's own training says: the arguments of its calls of `compile`, `fit`, and of the model's function."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.pipelines.scanning.functions import Function, Module, called

UNKNOWN = object()
KEYS = ("epochs", "batch_size", "optimizer", "loss", "early_stopping")
FIT = {"epochs": "epochs", "batch_size": "batch_size"}


def training_of(modules: Sequence[Module]) -> dict[str, Any]:
    """`training` of the experiment file, as far as literals tell it: epochs, batch size, optimizer, loss."""
    found: dict[str, Any] = {}
    for module in modules:
        for call in module.calls:
            if called(call) == "fit":
                found |= _fitted(call, modules)
            elif called(call) == "compile":
                found |= _compiled(call, modules)
            elif called(call) == "EarlyStopping":
                found |= _stopped(call, modules)
    return {key: found[key] for key in KEYS if key in found}


def _stopped(call: ast.Call, modules: Sequence[Module]) -> dict[str, Any]:
    """Early stopping by the loss; another value is one of a metric, which may have another name here."""
    given = {str(keyword.arg): value_of(keyword.value, modules) for keyword in call.keywords}
    monitor = given.get("monitor", value_of(call.args[0], modules) if call.args else "val_loss")
    patience = given.get("patience")
    if monitor != "val_loss" or type(patience) is not int or patience < 1:
        return {}
    return {"early_stopping": {"patience": patience}}


def _fitted(call: ast.Call, modules: Sequence[Module]) -> dict[str, Any]:
    given = {keyword.arg: value_of(keyword.value, modules) for keyword in call.keywords if keyword.arg in FIT}
    return {str(name): value for name, value in given.items() if type(value) is int and value > 0}


def _compiled(call: ast.Call, modules: Sequence[Module]) -> dict[str, Any]:
    given = dict(zip(("optimizer", "loss"), call.args, strict=False))
    given |= {
        str(keyword.arg): keyword.value for keyword in call.keywords if keyword.arg in ("optimizer", "loss")
    }
    found = {name: value_of(node, modules) for name, node in given.items()}
    named = {name: value for name, value in found.items() if isinstance(value, str)}
    optimizer = given.get("optimizer")
    if isinstance(optimizer, ast.Call):
        named |= {"optimizer": _optimizer(optimizer, modules)}
    return named


def _optimizer(call: ast.Call, modules: Sequence[Module]) -> Any:
    """`keras.optimizers.Adam(1e-3)` as {name: adam, learning_rate: 0.001}."""
    rate = next((keyword.value for keyword in call.keywords if keyword.arg == "learning_rate"), None)
    rate = rate or (call.args[0] if call.args else None)
    value = None if rate is None else value_of(rate, modules)
    name = called(call).lower()
    return {"name": name, "learning_rate": value} if isinstance(value, int | float) else name


def arguments_of(function: Function, modules: Sequence[Module]) -> dict[str, Any]:
    """What the project calls a function with, for each argument without a default; UNKNOWN where that is no literal."""
    found = dict.fromkeys(function.required, UNKNOWN)
    for call in (call for module in modules for call in module.calls if called(call) == function.name):
        given = dict(zip(function.required, call.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in found}
        found |= {name: value_of(node, modules) for name, node in given.items() if found[name] is UNKNOWN}
    return found


def value_of(node: ast.expr, modules: Sequence[Module]) -> Any:
    """A literal, a constant of one of the modules, or the length of one; UNKNOWN for all else."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError):
        pass
    if isinstance(node, ast.Name):
        return next(_constants(node.id, modules), UNKNOWN)
    if isinstance(node, ast.Call) and called(node) == "len" and len(node.args) == 1:
        inner = value_of(node.args[0], modules)
        return len(inner) if isinstance(inner, str | list | tuple | dict | set) else UNKNOWN
    return UNKNOWN


def _constants(name: str, modules: Sequence[Module]) -> Iterator[Any]:
    return (module.constants[name] for module in modules if name in module.constants)
