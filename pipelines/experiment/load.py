"""Reads an Experiment from a file or an example's name, and `--set` overrides; each mistake gets a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tidegate.pipelines.errors import ExperimentError, UsageError, nearest
from tidegate.pipelines.experiment.spec import Experiment

EXAMPLES = Path(__file__).resolve().parents[1] / "experiments"
MOST_BYTES = 1_000_000
MOST_NODES = 50_000


class _Loader(yaml.CSafeLoader):
    """Checks YAML's rule that a mapping has each key once, which PyYAML does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                raise yaml.YAMLError(
                    f"line {line}: the key {key.value!r} is given a second time; leave one out"
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_experiment(file_or_name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Read, override and validate an experiment, its paths made absolute.

    Args:
        file_or_name: path of a YAML file, or the name of an example in `pipelines/experiments`.
        overrides: `dotted.key=value` strings; the value is YAML.

    Raises:
        ExperimentError: naming the key, what was received, what was expected.
    """
    path = find_file(file_or_name)
    document = _read(path)
    for override in overrides:
        _set(document, override)
    return validate(document, str(path)).resolved(path.parent)


def find_file(file_or_name: str) -> Path:
    """The experiment file: a path, experiment.yaml in a folder, or an example's name, in this order."""
    path = Path(file_or_name)
    if path.is_file():
        return path
    if path.is_dir():
        inside = path / "experiment.yaml"
        if inside.is_file():
            return inside
        raise ExperimentError(
            f"{path} is a folder without experiment.yaml; expected an experiment file; name another path"
        )
    example = EXAMPLES / f"{file_or_name}.yaml"
    if "/" not in file_or_name and example.is_file():
        return example
    names = sorted(known.stem for known in EXAMPLES.glob("*.yaml"))
    raise ExperimentError(
        f'no experiment file "{file_or_name}" and no example of that name{nearest(file_or_name, names)}; '
        f"examples: {', '.join(names)}; `tidegate init DIR` makes a new file"
    )


def validate(document: Any, where: str) -> Experiment:
    """Turn a parsed document into an Experiment.

    Raises:
        ExperimentError: with one line for every mistake.
    """
    if not isinstance(document, dict):
        raise ExperimentError(
            f"{where}: received {_short(document)}; expected a mapping with name, data and model"
        )
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        lines = [line for problem in error.errors(include_url=False) for line in _sentences(problem)]
        raise ExperimentError(f"{where}: " + "\n  ".join(lines)) from error


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ExperimentError(
                f"{path} has {path.stat().st_size} bytes; expected at most {MOST_BYTES}; keep data in files of its own"
            )
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ExperimentError(
            f"{path}: cannot be read: {error.strerror}; check the file's permissions"
        ) from error
    if _nodes(document, {}, set()) > MOST_NODES:
        raise ExperimentError(
            f"{path}: aliases expand to more than {MOST_NODES} values; write the values out instead"
        )
    return document


def _nodes(value: Any, seen: dict[int, int], above: set[int]) -> int:
    """Number of nodes once all aliases are expanded, counted without expanding them."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not children:
        return 1
    if id(value) in above:
        return MOST_NODES + 1  # an alias that contains itself expands without end
    if id(value) not in seen:
        above.add(id(value))
        seen[id(value)] = min(MOST_NODES + 1, 1 + sum(_nodes(child, seen, above) for child in children))
        above.discard(id(value))
    return seen[id(value)]


def _set(document: Any, override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise UsageError(
            f'--set {override}: expected key=value, e.g. --set training.epochs=5; received no "="'
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"--set {override}: the value is not YAML: {' '.join(str(error).split())}"
        ) from error
    *parents, last = key.split(".")
    place = document
    for parent in parents:
        if isinstance(place, dict) and place.get(parent) is None:
            place[parent] = {}
        place = place[parent] if isinstance(place, dict) else place
        if not isinstance(place, dict):
            raise UsageError(
                f'--set {override}: "{parent}" is {_short(place)}, not a mapping that could hold "{last}"'
            )
    place[last] = value


def with_values(document: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A copy of a nested document with dotted keys replaced."""
    result = dict(document)
    for dotted, value in values.items():
        head, _, rest = dotted.partition(".")
        below = result.get(head)
        result[head] = with_values(below if isinstance(below, dict) else {}, {rest: value}) if rest else value
    return result


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested document as dotted keys; empty values are left out."""
    result: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        elif value is not None and value != [] and value != {} and value != "":
            result[f"{prefix}{key}"] = value
    return result


def _sentences(problem: Any) -> list[str]:
    """One of pydantic's errors as sentences; a contradictory part may have several."""
    place = ".".join(str(part) for part in problem["loc"] if part != "")
    if problem["type"] == "extra_forbidden":
        known = list(_keys_at(problem["loc"][:-1]))
        close = nearest(str(problem["loc"][-1]), known) or f"; known keys: {', '.join(known)}"
        return [f"{place}: unknown key{close}"]
    if problem["type"] == "missing":
        return [f"{place}: missing; it is required"]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch" and problem["loc"][-1:] in (("name",), ("endpoint",)):
        message = "expected lower-case letters, digits and - only, such as my-experiment"
    received = _short(problem["input"])
    return [f"{place or 'experiment'}: {line}; received {received}" for line in message.split("\n")]


def _keys_at(loc: Sequence[int | str]) -> Iterator[str]:
    """Keys known at a place of the experiment, found by walking the model's types."""
    part: type[BaseModel] | None = Experiment
    for key in loc:
        if isinstance(key, str) and part is not None and key in part.model_fields:
            part = _part_in(part.model_fields[key].annotation)
    yield from part.model_fields if part is not None else ()


def _part_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _part_in(inner))), None)


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else f"{text[:77]}..."
