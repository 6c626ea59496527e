"""From a file and `--set` to an experiment: what is read, overridden and resolved, and the words of a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.commands.preflight.check import check
from tidegate.pipelines.errors import ExperimentError, UsageError
from tidegate.pipelines.experiment.data_parts.columns import InputSpec
from tidegate.pipelines.experiment.dotted import flat, with_values
from tidegate.pipelines.experiment.load import EXAMPLES, find_file, load_experiment, validate
from tidegate.pipelines.state.home import Home

GOOD: dict[str, Any] = {"name": "a", "data": {"dataset": "wine"}, "model": {"family": "mlp"}}


def written(folder: Path, text: str) -> str:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_every_example_is_right(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(name)
    check(experiment, Home(tmp_path))
    assert experiment.name == name


def test_paths_resolve_against_the_file(tmp_path: Path) -> None:
    text = "{name: a, data: {source: ../rows.csv, target: y}, model: {file: ./m.py}}"
    (tmp_path / "below").mkdir()
    experiment = load_experiment(written(tmp_path / "below", text))
    assert experiment.data.source == str(tmp_path / "rows.csv")
    assert experiment.model.file == str(tmp_path / "below" / "m.py")


def test_a_path_comes_before_an_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").write_text("{}")
    assert find_file("digits").parent == EXAMPLES
    monkeypatch.chdir(tmp_path)
    assert find_file("digits") == Path("digits")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=3", {"training": {"epochs": 3}}),
        ("training.optimizer.learning_rate=1.5e-2", {"training": {"optimizer": {"learning_rate": 0.015}}}),
        (
            "data.inputs=[a, b]",
            {"data": {"inputs": [InputSpec.model_validate({"name": name}).model_dump() for name in "ab"]}},
        ),
        ("description=a = b", {"description": "a = b"}),
        ("training.early_stopping=null", {"training": {"early_stopping": None}}),
        ("gate={metric: test_f1, minimum: 0.5}", {}),
    ],
)
def test_an_override_is_yaml_at_a_dotted_key(override: str, expected: dict[str, Any], tmp_path: Path) -> None:
    file = written(tmp_path, "{name: a, data: {dataset: wine}, model: {family: mlp}}")
    found = load_experiment(file, [override]).model_dump(mode="json")
    assert flat(expected).items() <= flat(found).items()


def test_the_last_override_counts(tmp_path: Path) -> None:
    file = written(tmp_path, "{name: a, data: {dataset: wine}, model: {family: mlp}}")
    overrides = ["training.epochs=3", "training.epochs=4"]
    assert load_experiment(file, overrides).training.epochs == 4


def test_single_values_become_lists() -> None:
    experiment = validate(GOOD | {"data": {"source": "x.csv", "target": "y", "inputs": ["a"]}}, "here")
    assert experiment.data.target == ["y"]
    assert experiment.data.inputs and experiment.data.inputs[0].name == "a"
    assert len(validate(GOOD | {"gate": {"metric": "test_f1"}}, "here").gate) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gate": "AUC"}, "expected `none`, or what must hold, such as {metric: test_accuracy"),
        ({"naem": 1}, 'naem: unknown key; did you mean "name"?'),
        ({"data": {"dataset": "wine", "spilt": {}}}, 'data.spilt: unknown key; did you mean "split"?'),
        ({"search": {"space": {}, "zzz": 1}}, "search.zzz: unknown key; known keys: method, trials"),
        ({"training": {"early_stopping": {"patiance": 1}}}, 'did you mean "patience"?'),
        ({"name": None}, "name: received NoneType None; expected a text; correct it"),
        ({"gate": [{"minimum": 1}]}, "gate.0.metric: missing; it is required"),
        ({"resources": {"memory": "lots"}}, "resources.memory"),
        ({"serving": {"replicas": {"min": 3, "max": 2}}}, "max 2 is below min 3; it must be at least that"),
        ({"serving": {"canary": {"steps": [50, 10]}}}, "steps [50, 10] must rise, e.g. [10, 50, 100]"),
        ({"serving": {"canary": {"steps": [0]}}}, "serving.canary.steps.0"),
        ({"serving": {"resources": {"memory": "much"}}}, "serving.resources.memory"),
    ],
)
def test_a_mistake_is_named_with_its_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError) as raised:
        validate(GOOD | change, "here.yaml")
    assert words in str(raised.value)
    assert str(raised.value).startswith("here.yaml: ")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ExperimentError) as raised:
        validate(GOOD | {"naem": 1, "training": {"epochs": 0}}, "here")
    assert len(str(raised.value).splitlines()) == 2


def test_all_mistakes_of_a_part_are_told_at_once() -> None:
    part = {"family": "mlp", "file": "./m.py", "freeze": "conv*"}
    with pytest.raises(ExperimentError) as raised:
        validate(GOOD | {"model": part, "search": {"space": {"a.b": [1], "c": [2]}}}, "here")
    told = [line.strip().removeprefix("here: ").split(";")[0] for line in str(raised.value).splitlines()]
    assert told == [
        "model: give either family (e.g. mlp), file (./my_model.py), function (package.module:build) or trained "
        "(./model.keras)",
        "model: freeze keeps layers of an earlier run",
        'search: space key "a.b" must begin with model. or training.',
        'search: space key "c" must begin with model. or training.',
        "search: trials is missing",
    ]


@pytest.mark.parametrize("override", ["name", "=3", "name.below=1"])
def test_a_broken_override_is_told_whole(override: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--set {override}: "):
        load_experiment(written(tmp_path, "{name: a}"), [override])


def test_aliases_are_fine_until_they_explode(tmp_path: Path) -> None:
    text = "{name: a, data: {dataset: wine}, model: &m {family: mlp, hidden: &h [8, 8]}, gate: []}"
    assert load_experiment(written(tmp_path, text)).model.family == "mlp"


SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    ("training", "values", "expected"),
    [
        ({"epochs": 2}, {"optimizer.learning_rate": 0.1}, {"optimizer": {"learning_rate": 0.1}, "epochs": 2}),
        ({"optimizer": "sgd"}, {"optimizer.momentum": 0.9}, {"optimizer": {"name": "sgd", "momentum": 0.9}}),
        ({"optimizer": SGD}, {"optimizer.momentum": 0.5}, {"optimizer": SGD | {"momentum": 0.5}}),
        ({"optimizer": SGD}, {"optimizer": "adam"}, {"optimizer": SGD | {"name": "adam"}}),
        ({"optimizer": SGD}, {"optimizer": {"name": "lion"}}, {"optimizer": {"name": "lion"}}),
        (
            {"optimizer": "sgd"},
            {"optimizer.learning_rate": 0.1, "optimizer": "lion"},
            {"optimizer": {"name": "lion", "learning_rate": 0.1}},
        ),
        ({"loss": "huber"}, {"loss.delta": 0.5}, {"loss": {"name": "huber", "delta": 0.5}}),
        ({"early_stopping": None}, {"early_stopping.patience": 3}, {"early_stopping": {"patience": 3}}),
    ],
)
def test_a_searched_value_leaves_what_stands_beside_it(
    training: dict[str, Any], values: dict[str, Any], expected: dict[str, Any]
) -> None:
    document, before = {"training": training}, repr(training)
    changed = with_values(document, {f"training.{key}": value for key, value in values.items()})
    assert changed["training"] == expected
    assert repr(document["training"]) == before


NUMBERS = ("1e-3", "1E-3", "+1e-3", "1.e-3", ".1e-2", "0.1e-2", "1.0e-3")


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_with_an_exponent_is_one_wherever_it_stands(text: str, tmp_path: Path) -> None:
    """In the optimizer, options of a family and of a user's build, the searched values, and a key that is a number."""
    file = written(
        tmp_path,
        f"""
name: a
data: {{dataset: wine, split: {{validation: {text}}}}}
model: {{file: m.py, rate: {text}, rates: [{text}, {{deep: {text}}}]}}
training: {{optimizer: {{name: adam, learning_rate: {text}}}, epochs: 1e1, class_weights: {{a: {text}}}}}
search: {{method: grid, space: {{training.optimizer.epsilon: [{text}], model.x: {{low: {text}, high: 1e3}}}}}}
gate: {{metric: test_loss, maximum: {text}}}
""",
    )
    found = load_experiment(file, [f"training.label_smoothing={text}", f"model.set={text}"])
    training, search = found.training, found.search
    assert isinstance(training.optimizer, dict) and search and isinstance(training.class_weights, dict)
    options = found.model.options
    values = [
        *(training.optimizer["learning_rate"], found.data.split.validation, options["rate"], options["set"]),
        *(options["rates"][0], options["rates"][1]["deep"], training.class_weights["a"]),
        *(search.space["training.optimizer.epsilon"][0], search.space["model.x"]["low"]),
        *(found.gate[0].maximum, training.label_smoothing),
    ]
    assert {type(value) for value in values} == {float} and values == [0.001] * len(values)
    assert training.epochs == 10 and search.space["model.x"]["high"] == 1000


def test_such_a_number_stays_a_text_where_a_text_is_expected_or_it_is_quoted(tmp_path: Path) -> None:
    data = "{source: r.csv, target: 1e1, inputs: [2e1, b]}"
    text = f"{{name: 1e3, description: 1E-3, model: {{file: m.py, x: '1e3'}}, data: {data}}}"
    found = load_experiment(written(tmp_path, text), ["serving.endpoint=3e1"])
    assert (found.name, found.description, found.endpoint) == ("1e3", "1E-3", "3e1")
    assert found.model.options["x"] == "1e3"
    assert found.data.target == ["1e1"] and found.data.inputs and found.data.inputs[0].name == "2e1"


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "Off", "null", "007", "1e3", "2025-01-31", "12:30", "true", "5"]
)
def test_a_class_is_called_as_it_is_written(word: str, tmp_path: Path) -> None:
    text = f"{{name: a, data: {{dataset: wine}}, model: {{family: mlp}}, training: {{class_weights: {{{word}: 2}}}}}}"
    weights = load_experiment(written(tmp_path, text)).training.class_weights
    assert weights == {{"true": True, "5": 5}.get(word, word): 2.0}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("{1: 2, true: 3}", "are the same value"),
        ("{1: 2, '1': 3}", "is given a second time"),
        ("{a: -1}", "class_weights.a: received int -1; expected a number of at least 0; correct it$"),
    ],
)
def test_a_class_has_one_weight(weights: str, words: str, tmp_path: Path) -> None:
    text = f"{{name: a, data: {{dataset: wine}}, model: {{family: mlp}}, training: {{class_weights: {weights}}}}}"
    with pytest.raises(ExperimentError, match=words):
        load_experiment(written(tmp_path, text))


def test_merged_keys_are_no_doubles(tmp_path: Path) -> None:
    text = "name: a\ndata: {dataset: wine}\nmodel: {<<: &m {family: mlp, hidden: [8]}, hidden: [4]}\n"
    assert load_experiment(written(tmp_path, text)).model.options["hidden"] == [4]


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("-01", -1), ("0", 0), ("0.5", 0.5), ("12:30", "12:30"), ("1:2:3", "1:2:3"), ("0x10", 16)],
)
def test_numbers_are_those_of_today_not_those_of_2005(text: str, value: Any, tmp_path: Path) -> None:
    file = written(tmp_path, f"{{name: a, data: {{dataset: wine}}, model: {{file: m.py, x: {text}}}}}")
    assert load_experiment(file).model.options["x"] == value


def test_flat_leaves_out_what_says_nothing() -> None:
    assert flat({"a": {"b": 1, "c": None, "d": {}}, "e": [], "f": "", "g": 0}) == {"a.b": 1, "g": 0}


def test_a_folder_stands_for_the_experiment_file_in_it(tmp_path):
    (tmp_path / "experiment.yaml").write_text("name: own\ndata: {dataset: digits}\nmodel: {family: mlp}\n")
    assert load_experiment(str(tmp_path), []).name == "own"
