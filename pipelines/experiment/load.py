"""Reads an Experiment from a file or an example's name, and `--set` overrides; each mistake gets a sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import ValidationError

from tidegate.models.config.mistakes import Mistake, mistakes, part_at, truths_as_numbers
from tidegate.pipelines.errors import ExperimentError, UsageError, nearest
from tidegate.pipelines.experiment.dotted import with_value
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.experiment.yaml_loader import WrittenNumber, parse, plain

EXAMPLES = Path(__file__).resolve().parents[1] / "experiments"
MOST_BYTES = 1_000_000
MOST_NODES = 50_000
# pydantic's errors of a number where a text, a column's name, or a list of them is expected.
TEXT_EXPECTED = ("string_type", "model_type", "list_type")
Source: TypeAlias = str | Mapping[str, Any]
Overrides: TypeAlias = Sequence[str] | Mapping[str, Any]


def load_experiment(source: Source, overrides: Overrides = ()) -> Experiment:
    """Read, override and validate an experiment, its paths made absolute.

    Args:
        source: path of a YAML file, or the name of an example in `pipelines/experiments`; or the experiment itself as
            plain values, whose paths are relative to the current folder.
        overrides: `dotted.key=value` strings, the value being YAML; or values by dotted key.

    Raises:
        ExperimentError: naming the key, what was received, what was expected.
    """
    if isinstance(source, Mapping):
        return validate(_overridden(dict(source), overrides), "experiment").resolved(Path.cwd())
    path = find_file(source)
    return validate(_overridden(_read(path), overrides), str(path)).resolved(path.parent)


def _overridden(document: Any, overrides: Overrides) -> Any:
    if not isinstance(document, dict):
        return document
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            document = _with(document, key, value, f"{key}={value!r}")
        return document
    for override in overrides:
        document = _set(document, override)
    return document


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
    settled = _settled(document)
    try:
        experiment = Experiment.model_validate(settled)
    except ValidationError as error:
        raise _wrong(where, mistakes(error, settled, Experiment)) from error
    truths = list(truths_as_numbers(experiment, settled))
    if truths:
        raise _wrong(where, truths)
    return experiment


def _wrong(where: str, found: list[Mistake]) -> ExperimentError:
    lines = [line for mistake in found for line in _sentences(mistake)]
    return ExperimentError(f"{where}: " + "\n  ".join(lines))


def _settled(document: dict[str, Any]) -> Any:
    """The document with `1e-3` as a number, and as a text where the option is one."""
    try:
        Experiment.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False)
        wanted = [problem["input"] for problem in found if problem["type"] in TEXT_EXPECTED]
        return plain(document, {id(one) for one in wanted if isinstance(one, WrittenNumber)})
    return plain(document)


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ExperimentError(
                f"{path} has {path.stat().st_size} bytes; expected at most {MOST_BYTES}; keep data in files of its own"
            )
        document = parse(path.read_text(encoding="utf-8"))
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


def _set(document: dict[str, Any], override: str) -> dict[str, Any]:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise UsageError(
            f'--set {override}: expected key=value, e.g. --set training.epochs=5; received no "="'
        )
    try:
        value = parse(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"--set {override}: the value is not YAML: {' '.join(str(error).split())}"
        ) from error
    return _with(document, key, value, override)


def _with(document: dict[str, Any], key: str, value: Any, override: str) -> dict[str, Any]:
    try:
        return with_value(document, key, value)
    except ValueError as error:
        raise UsageError(f"--set {override}: {error}") from error


def _sentences(mistake: Mistake) -> list[str]:
    """A mistake as sentences; a contradictory part may have several."""
    place, sentence = ".".join(mistake.place), mistake.sentence
    if mistake.type == "extra_forbidden":
        part = part_at(Experiment, mistake.place[:-1])
        known = [field.alias or name for name, field in part.model_fields.items()] if part else []
        close = nearest(mistake.place[-1], known) or f"; known keys: {', '.join(known)}"
        return [f"{place}: unknown key{close}"]
    if mistake.type == "missing":
        return [f"{place}: missing; it is required"]
    if mistake.type == "string_pattern_mismatch" and mistake.place[-1:] in (("name",), ("endpoint",)):
        sentence = "expected lower-case letters, digits and - only, such as my-experiment; correct it"
    received = _short(mistake.received)
    if sentence.startswith("expected "):
        return [f"{place or 'experiment'}: received {received}; {sentence}"]
    return [f"{place or 'experiment'}: {line}; received {received}" for line in sentence.split("\n")]


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else f"{text[:77]}..."
