"""An experiment as a dict: what it may hold, and what becomes of functions."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tidegate
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.python_api.documents import plain_document
from tidegate.pipelines.python_api.submission import settings_of


def test_values_become_those_of_a_file() -> None:
    given = {"data": {"source": Path("a.csv"), "inputs": ("x", "y")}, "training": {"epochs": np.int64(3)}}
    assert plain_document(given) == {
        "data": {"source": "a.csv", "inputs": ["x", "y"]},
        "training": {"epochs": 3},
    }


def test_a_function_of_a_module_becomes_its_reference() -> None:
    assert plain_document({"model": {"function": plain_document}}) == {
        "model": {"function": "tidegate.pipelines.python_api.documents:plain_document"}
    }


def _in_a_notebook() -> Any:
    def build() -> None: ...

    build.__module__, build.__qualname__ = "__main__", "build"
    return build


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            _in_a_notebook(),
            r'model.function: received build, which is defined in a notebook.*give "my_code:build"',
        ),
        (
            lambda x: x,
            r"model.function: received <lambda> of .*; expected a function or class at the top of a module",
        ),
        (
            functools.partial(print),
            "model.function: received a partial; expected what an experiment file holds",
        ),
        (object(), "model.function: received a object; expected what an experiment file holds"),
    ],
)
def test_what_no_process_can_import_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        plain_document({"model": {"function": value}})


def test_settings_are_values_or_texts() -> None:
    assert settings_of({"training.epochs": np.int32(2)}) == {"training.epochs": 2}
    assert settings_of("training.epochs=2") == ["training.epochs=2"]
    assert settings_of(["a=1", "b=2"]) == ["a=1", "b=2"]


def test_paths_of_a_dict_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "\n".join(f"{n},{n % 2}" for n in range(40)))
    monkeypatch.chdir(tmp_path)
    experiment = {"name": "rows", "data": {"source": "rows.csv", "target": "y"}, "model": {"family": "mlp"}}
    planned = tidegate.plan(experiment, set={"training.epochs": 2}, home=tmp_path / "home")
    assert (planned.format, planned.trials) == ("csv", 1)
    with pytest.raises(tidegate.ExperimentError, match=r"nothing\.csv"):
        tidegate.plan(experiment, set={"data.source": "nothing.csv"}, home=tmp_path / "home")


@pytest.mark.parametrize(
    ("experiment", "settings", "kind", "message"),
    [
        (3, (), tidegate.UsageError, "the experiment is a int; expected a path, an example's name or a dict"),
        ({"name": "a"}, (), tidegate.ExperimentError, "data: missing; it is required"),
        ("digtis", (), tidegate.ExperimentError, 'did you mean "digits"'),
        ("digits", {"training.epcohs": 1}, tidegate.ExperimentError, 'unknown key; did you mean "epochs"'),
        ("digits", {"name.x": 1}, tidegate.UsageError, "not a mapping"),
        ("digits", ["training.epochs"], tidegate.UsageError, 'received no "="'),
    ],
)
def test_a_wrong_experiment_is_refused(
    experiment: Any, settings: Any, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        tidegate.plan(experiment, set=settings, home=tmp_path)
