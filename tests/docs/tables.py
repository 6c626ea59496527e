"""The tables that the pages take from the code, so that neither has a name that the other lacks."""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from tests.models.export.layer_results import INSTEAD, PARTS, Result, results
from tidegate.models.families import FAMILIES, family
from tidegate.models.loops import BACKENDS
from tidegate.models.readers import READERS
from tidegate.pipelines.executors import EXECUTORS
from tidegate.pipelines.experiment.load import EXAMPLES
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.parser import make_parser
from tidegate.pipelines.steps import MODULES
from tidegate.serving.dialects import DIALECTS
from tidegate.serving.runtimes import RUNTIMES

Row = tuple[str, ...]


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _about(name: str, module: str) -> str:
    """The first line of a module's docstring, without the name that it begins with and its full stop."""
    line = (import_module(module).__doc__ or "").splitlines()[0].removesuffix(".")
    return re.sub(rf"^(The {name} family|{name}): ", "", line)


def of_modules(known: Mapping[str, str]) -> str:
    """A row a name of a table from names to modules."""
    rows = ((f"`{name}`", _about(name, module)) for name, module in known.items())
    return _table(("name", "what it is"), rows)


def families() -> str:
    """A row a family: what it is, and its options with their defaults."""
    rows = []
    for name, module in FAMILIES.items():
        fields = family(name).Options.model_fields
        options = ", ".join(f"`{key}` {_value(field.default)}".strip() for key, field in fields.items())
        rows.append((f"`{name}`", _about(name, module), options or "none"))
    return _table(("family", "what it is", "options, with their defaults"), rows)


(_action,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS: dict[str, argparse.ArgumentParser] = dict(_action.choices)
COMMON = {"-h", "--target", "--home", "--json", "--debug"}


def commands() -> str:
    """A row a command."""
    rows = ((_usage(parser), (parser.description or "").removesuffix(".")) for parser in COMMANDS.values())
    return _table(("command", "does"), rows)


def _usage(parser: argparse.ArgumentParser) -> str:
    words = [parser.prog.removeprefix("tidegate ")]
    for action in sorted(parser._actions, key=lambda action: bool(action.option_strings)):
        name = action.metavar or "|".join(action.choices or ()) or action.dest.upper()
        if not action.option_strings:
            words.append({"?": f"[{name}]", "+": f"{name}..."}.get(str(action.nargs), str(name)))
        elif action.option_strings[0] not in COMMON:
            words.append(f"[{action.option_strings[-1]}{'' if action.nargs == 0 else f' {name}'}]")
    return f"`{' '.join(words)}`"


def examples() -> str:
    """A row an example, with the words at the head of its file."""
    rows = []
    for path in sorted(EXAMPLES.glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        words = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
        rows.append((f"`{path.stem}`", " ".join(words).removesuffix(".")))
    return _table(("name", "what it is"), rows)


def schema() -> str:
    """A row a key of the experiment file, at any depth."""
    document = Experiment.model_json_schema()
    rows = [
        row for key in document["properties"] for row in _rows(key, document["properties"][key], document)
    ]
    return _table(("key", "value", "default", "meaning"), rows)


def _rows(key: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Row]:
    parts = list(_parts(entry, document))
    about = entry.get("description") or next(iter(parts), {}).get("description", "")
    default = "" if parts and isinstance(entry.get("default"), dict) else _value(entry.get("default"))
    yield f"`{key}`", " or ".join(dict.fromkeys(_types(entry, document))), default, _line(about)
    for part in parts:
        for name, below in part.get("properties", {}).items():
            if "const" in below:  # the name that says which of several parts it is
                continue
            for inner, *values, words in _rows(f"{key}.{name}", below, document):
                named = part["properties"].get("name", {}).get("const")
                of = f"of {named}: " if named and len(parts) > 1 else ""
                yield inner, *values, of + words


def _line(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


def _parts(entry: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts with keys of their own that may stand here."""
    if "$ref" in entry:
        yield document["$defs"][entry["$ref"].rpartition("/")[2]]
    seen = set[str]()
    for below in [
        *entry.get("anyOf", ()),
        *entry.get("oneOf", ()),
        *([entry["items"]] if "items" in entry else []),
    ]:
        for part in _parts(below, document):
            if part["title"] not in seen:
                seen.add(part["title"])
                yield part


def _types(entry: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in entry:
        yield "mapping"
    elif "anyOf" in entry or "oneOf" in entry:
        for below in [*entry.get("anyOf", ()), *entry.get("oneOf", ())]:
            yield from _types(below, document)
    elif "enum" in entry:
        yield ", ".join(f"`{value}`" for value in entry["enum"])
    elif "const" in entry:
        yield f"`{entry['const']}`"
    elif entry.get("type") == "array":
        inner = list(dict.fromkeys(_types(entry.get("items", {}), document)))
        yield f"list of {' or '.join(inner)}" if inner else "list"
    elif "type" in entry and entry["type"] != "null":
        yield _range({"object": "mapping", "string": "text"}.get(entry["type"], entry["type"]), entry)


def _range(name: str, entry: Mapping[str, Any]) -> str:
    low = {"minimum": "from {}", "exclusiveMinimum": "above {}"}
    high = {"maximum": "to {}", "exclusiveMaximum": "below {}"}
    words = [form.format(entry[key]) for key, form in (low | high).items() if key in entry]
    return " ".join([name, *words])


def _value(value: Any) -> str:
    if value is None or repr(value) == "PydanticUndefined":
        return ""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    return f"`{json.dumps(value)}`"


def keras_layers() -> str:
    """A row a layer of Keras and what serves it."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results():
        name = result.layer.partition("(")[0]
        found.setdefault((name, result.reason), []).append(result)
    rows = [_layer(name, reason, of) for (name, reason), of in found.items()]
    rows += [(f"`{name}`", "", "", f"no layer of a network: {why}") for name, why in PARTS.items()]
    head = ("layer", "served by", "largest difference", "measured with")
    return _table(head, sorted(rows, key=lambda row: row[0].lower()))


def _layer(name: str, reason: str, found: list[Result]) -> Row:
    options = ", ".join(dict.fromkeys(f"`({one.layer.partition('(')[2]}`" for one in found))
    if reason:
        instead = f"; instead: {INSTEAD[name]}" if name in INSTEAD else ""
        return f"`{name}`", "TensorFlow", "", f"{options}: {reason}{instead}"
    worst = max(one.difference or 0.0 for one in found)
    return f"`{name}`", "ONNX Runtime", f"{worst:.0e}" if worst else "0", options


TABLES: dict[str, Callable[[], str]] = {
    "schema": schema,
    "commands": commands,
    "examples": examples,
    "families": families,
    "keras-layers": keras_layers,
    "readers": lambda: of_modules(READERS),
    "backends": lambda: of_modules(BACKENDS),
    "steps": lambda: of_modules(MODULES),
    "executors": lambda: of_modules(EXECUTORS),
    "dialects": lambda: of_modules(DIALECTS),
    "runtimes": lambda: of_modules(RUNTIMES),
}
