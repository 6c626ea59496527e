"""What the project's own training says: the arguments of its calls of `compile`, `fit`, and of the model's function."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.models.config.metrics import OF_CLASSES, OF_NUMBERS, SPELLINGS
from tidegate.pipelines.scanning.functions import Function, Module, called

UNKNOWN = object()
KEYS = ("epochs", "batch_size", "optimizer", "loss", "metrics", "early_stopping")
LOSS = "val_loss"
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
    if "watched" in found and found["watched"] not in found.get(
        "metrics", ()
    ):  # what is not computed stops nothing
        del found["early_stopping"]
    return {key: found[key] for key in KEYS if key in found}


def _stopped(call: ast.Call, modules: Sequence[Module]) -> dict[str, Any]:
    """Early stopping by the loss, or by a metric that has the same name here."""
    given = {str(keyword.arg): value_of(keyword.value, modules) for keyword in call.keywords}
    monitor = given.get("monitor", value_of(call.args[0], modules) if call.args else LOSS)
    patience = given.get("patience")
    if type(patience) is not int or patience < 1:
        return {}
    if monitor == LOSS:
        return {"early_stopping": {"patience": patience}}
    metric = _metric_of(str(monitor).removeprefix("val_")) if str(monitor).startswith("val_") else None
    stopping = {"monitor": f"val_{metric}", "patience": patience}
    return {"early_stopping": stopping, "watched": metric} if metric else {}


def _metrics(node: ast.expr, modules: Sequence[Module]) -> list[str]:
    """The metrics of `compile` that have a name here: "accuracy", `keras.metrics.AUC()`."""
    listed = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
    names = [called(one) if isinstance(one, ast.Call) else str(value_of(one, modules)) for one in listed]
    return list(dict.fromkeys(name for word in names if (name := _metric_of(word))))


def _metric_of(word: str) -> str | None:
    name = SPELLINGS.get(word.lower().replace("_", ""))
    return name if name in (*OF_CLASSES, *OF_NUMBERS) else None


def _fitted(call: ast.Call, modules: Sequence[Module]) -> dict[str, Any]:
    given = {keyword.arg: value_of(keyword.value, modules) for keyword in call.keywords if keyword.arg in FIT}
    return {str(name): value for name, value in given.items() if type(value) is int and value > 0}


def _compiled(call: ast.Call, modules: Sequence[Module]) -> dict[str, Any]:
    given = dict(zip(("optimizer", "loss"), call.args, strict=False))
    given |= {
        str(keyword.arg): keyword.value for keyword in call.keywords if keyword.arg in ("optimizer", "loss")
    }
    found = {name: value_of(node, modules) for name, node in given.items()}
    named: dict[str, Any] = {name: value for name, value in found.items() if isinstance(value, str)}
    metrics = next((keyword.value for keyword in call.keywords if keyword.arg == "metrics"), None)
    if metrics is not None and (names := _metrics(metrics, modules)):
        named |= {"metrics": names}
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
