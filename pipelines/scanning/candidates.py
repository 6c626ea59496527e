"""Which of a project's functions may be the model's, the transform and the loader, the most likely first."""

from collections.abc import Iterable, Sequence

from tidegate.pipelines.scanning.functions import Function, Module

MAKES = ("build", "make", "create", "get", "define", "construct")
FEATURES = ("transform", "feature", "preprocess", "prepare", "engineer", "encode")
LOADS = ("load", "read", "fetch", "get", "import", "make_dataset")
TABLES = ("DataFrame", "LazyFrame", "Table", "dict", "Dict", "Mapping")


def models_among(modules: Iterable[Module]) -> list[Function]:
    """Functions that return a Keras model: named so, and in a module that others are not tests of."""
    found = [one for one in _public(modules) if one.makes_model]
    return sorted(found, key=lambda one: (not _named(one, MAKES), "model" not in one.name, len(one.required)))


def transforms_among(modules: Iterable[Module], columns: Sequence[str]) -> list[Function]:
    """Functions from raw columns to columns: of one argument, in a module without Keras.

    Args:
        modules: of the project.
        columns: of the data; [] where they are not known.
    """
    found = [
        one
        for one in _public(modules)
        if len(one.required) == 1 and not (one.uses_keras or one.reads or one.trains)
        if _named(one, FEATURES) and (one.columns or any(kind in one.returns for kind in TABLES))
    ]
    return sorted(found, key=lambda one: len(set(one.columns) - set(columns)))


def loaders_among(modules: Iterable[Module]) -> list[Function]:
    """Functions that give data: called load, or named so and opening files."""
    return [
        one
        for one in _public(modules)
        if one.name == "load" or one.name.startswith("load_") or (one.reads and _named(one, LOADS))
        if not (one.trains or one.makes_model or "model" in one.name or "weights" in one.name)
    ]


def _public(modules: Iterable[Module]) -> list[Function]:
    return [
        one
        for module in modules
        if not any(part.startswith("test") or part == "conftest" for part in module.name.split("."))
        for one in module.functions
        if not one.name.startswith("_")
    ]


def _named(function: Function, words: Sequence[str]) -> bool:
    return any(word in function.name for word in words)
