"""YAML as people write it: each key once, and `1e-3` is a number, which YAML 1.1 takes for a text."""

from __future__ import annotations

import re
from typing import Any

import yaml

# YAML 1.1, which PyYAML reads, wants a point and a signed exponent. YAML 1.2 and JSON do not.
EXPONENT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
EXPONENT_TAG = "tag:tidegate,2026:exponent"
BOOLEAN_TAG = "tag:yaml.org,2002:bool"
TRUTHS = ("true", "false")


class WrittenNumber(float):
    """A number with an exponent, and how it was written, for an option that is a text.

    Attributes:
        text: as it stands in the file.
    """

    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """The number that a text such as 1e-3 says."""
        made = super().__new__(cls, text)
        made.text = text
        return made


class Loader(yaml.CSafeLoader):
    """PyYAML's loader with three changes.

    A key that is given twice is an error, as YAML says. Numbers with an exponent are numbers. A key such as `yes` or
    `on` is that word, as classes are called, not True.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node, whose keys are all different."""
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(
                    f"line {line}: the key {key.value!r} is given a second time; leave one out"
                )
            seen.add(key.value)
            if key.tag == BOOLEAN_TAG and key.value.lower() not in TRUTHS:
                key.tag = self.DEFAULT_SCALAR_TAG
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(EXPONENT_TAG, EXPONENT, list("-+.0123456789"))
Loader.add_constructor(EXPONENT_TAG, lambda _, node: WrittenNumber(node.value))


def parse(text: str) -> Any:
    """The document in a YAML text.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, Loader=Loader)


def plain(value: Any, as_text: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    """The same document with plain floats; those whose `id` is in `as_text` as they were written."""
    if isinstance(value, dict):
        return {plain(key, as_text): plain(entry, as_text) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry, as_text) for entry in value]
    if isinstance(value, WrittenNumber):
        return value.text if id(value) in as_text else float(value)
    return value
