"""YAML as people write it, which PyYAML reads by the rules of 2005: each key once, `1e-3` a number, `010` ten."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Any

import yaml

# YAML 1.1, which PyYAML reads, wants a point and a signed exponent, reads 010 as eight, and 12:30 as 750. YAML 1.2 and
# JSON do not.
NUMBER = re.compile(r"^[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+|0[0-9]+)$")
NUMBER_TAG = "tag:tidegate,2026:number"
TIME = re.compile(r"^[-+]?[0-9]+(:[0-9]+)+(\.[0-9]*)?$")
TEXT_TAG = "tag:yaml.org,2002:str"
STARTS = "-+.0123456789"
TRUTHS = ("true", "false")
NEVER_KEYS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:timestamp", NUMBER_TAG)


class WrittenNumber(float):
    """A number that YAML 1.1 reads as something else, and how it was written, for an option that is a text.

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

    A key that is given twice is an error, as YAML says. Numbers are those of YAML 1.2. A key such as `yes`, `null` or
    `007` is that text, as classes are called, not True.
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
            if key.tag != "tag:yaml.org,2002:merge":
                seen.add(key.value)
            word = key.tag == "tag:yaml.org,2002:bool" and key.value.lower() not in TRUTHS
            if word or key.tag in NEVER_KEYS:
                key.tag = TEXT_TAG
        made = super().construct_mapping(node, deep)
        if len(made) < len(seen):  # 1 and true, or 1 and 1.0
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: two keys of {list(made)} are the same value; leave one out")
        return made


for start in STARTS:  # before those of YAML 1.1
    before = [(TEXT_TAG, TIME), (NUMBER_TAG, NUMBER)]
    Loader.yaml_implicit_resolvers = {
        **Loader.yaml_implicit_resolvers,
        start: before + Loader.yaml_implicit_resolvers.get(start, []),
    }
Loader.add_constructor(NUMBER_TAG, lambda _, node: WrittenNumber(node.value))


def parse(text: str) -> Any:
    """The document in a YAML text.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, Loader=Loader)


def plain(value: Any, as_text: Set[int] = frozenset()) -> Any:
    """The same document with plain floats; those whose `id` is in `as_text` as they were written."""
    if isinstance(value, dict):
        return {plain(key, as_text): plain(entry, as_text) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry, as_text) for entry in value]
    if isinstance(value, WrittenNumber):
        return value.text if id(value) in as_text else float(value)
    return value
