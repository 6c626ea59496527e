"""Runs and endpoints as objects: what they say is what the command line says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tidegate
from tests.conftest import Cli
from tidegate.pipelines.python_api import results


@pytest.fixture(scope="module")
def run(shared: Cli, digits: dict[str, Any]) -> tidegate.Run:
    return tidegate.run(digits["run"], home=shared.home)


def test_a_run_is_what_submit_printed(run: tidegate.Run, digits: dict[str, Any]) -> None:
    result = run.result.to_dict()
    # Steps and trials are "cached" where another test submitted the same in this home.
    printed = {key: digits[key] for key in digits if key not in ("steps", "synced", "curl", "trials")}
    assert {key: result[key] for key in printed} == printed
    assert [trial["metrics"] for trial in result["trials"]] == [
        trial["metrics"] for trial in digits["trials"]
    ]
    assert (run.status, run.metrics, run.mlflow_url) == ("done", digits["metrics"], digits["mlflow_url"])
    assert [step.id for step in run.steps] == [step["id"] for step in digits["steps"]]
    assert run.trials[0].metrics["test_accuracy"] == run.metrics["test_accuracy"]
    assert "epoch 1/" in run.logs("train")
    assert run.wait(5) is run
    assert digits["run"] in str(run.result)


def test_every_key_that_is_printed_is_typed(shared: Cli, digits: dict[str, Any]) -> None:
    """So that a new key of --json gets its field."""
    pairs: list[tuple[Any, type[results.Document]]] = [
        (digits, results.RunResult),
        (digits["trials"][0], results.Trial),
        (digits["steps"][0], results.StepState),
        (shared.ok("runs")[0], results.RunRow),
        (shared.ok("endpoints")[0], results.EndpointRow),
        (shared.ok("endpoints")[0]["releases"][0], results.ReleaseRow),
        (shared.ok("plan", "digits"), results.Planned),
        (shared.ok("plan", "digits")["steps"][0], results.PlannedStep),
    ]
    for printed, kind in pairs:
        assert set(printed) <= set(kind.model_fields), kind


def test_a_submit_of_a_finished_run_is_that_run(run: tidegate.Run, shared: Cli) -> None:
    again = tidegate.submit("digits", set={"training.epochs": 8}, home=shared.home)
    assert again == run and again.status == "done"


def test_runs_are_listed_and_filtered(run: tidegate.Run, shared: Cli) -> None:
    found = tidegate.runs(status="done", metric="test_accuracy>0.5", home=shared.home)
    assert run in found
    assert [row.run for row in found.rows] == [one.id for one in found]
    assert run not in tidegate.runs(status=["failed", "cancelled"], home=shared.home)
    assert tidegate.run("digits", home=shared.home).name == "digits"


def test_an_endpoint_answers_rows_of_any_kind(run: tidegate.Run, shared: Cli, digits: dict[str, Any]) -> None:
    endpoint = tidegate.endpoint("digits", home=shared.home)
    assert endpoint.url == digits["endpoint"]
    assert run.endpoint is not None and run.endpoint.url == endpoint.url
    (field,) = endpoint.contract["inputs"]
    images = np.arange(3 * 64).reshape(3, 8, 8) % 17
    answers = endpoint.predict(images)
    assert (
        answers == endpoint.predict({"image": images}) == endpoint.predict([{"image": one} for one in images])
    )
    assert answers == tidegate.endpoint(endpoint.url).predict(images)
    assert set(answers[0]) == {"label", "probability", "probabilities"} and field["name"] == "image"
    assert endpoint.release in [known.release for known in endpoint.releases if known.state == "live"]
    assert "digits" in [one.name for one in tidegate.endpoints(home=shared.home)]


def test_tables_for_a_notebook(run: tidegate.Run, shared: Cli) -> None:
    assert f"<td>{run.metrics['test_accuracy']:.4f}</td>" in run._repr_html_()
    assert f"<td>{run.id}</td>" in tidegate.runs(home=shared.home)._repr_html_()
    assert "<td>digits</td>" in tidegate.endpoints(home=shared.home)._repr_html_()


def test_errors_are_of_the_tree(run: tidegate.Run, shared: Cli) -> None:
    with pytest.raises(tidegate.UnknownNameError, match='no run "digist" here'):
        tidegate.run("digist", home=shared.home)
    with pytest.raises(tidegate.UnknownNameError, match='no endpoint "digist" here; did you mean "digits"'):
        tidegate.endpoint("digist", home=shared.home)
    with pytest.raises(tidegate.UnknownNameError, match="no release before 1"):
        tidegate.endpoint("digits", home=shared.home).rollback()
    with pytest.raises(tidegate.UnknownNameError, match='no target "moon" here'):
        tidegate.runs(target="moon", home=shared.home)
    with pytest.raises(tidegate.EndpointError, match="'image' of row 0: received an array of shape"):
        tidegate.endpoint("digits", home=shared.home).predict([{"image": [1]}])
    with pytest.raises(
        tidegate.UsageError, match="is done; only a queued, running or waiting one can be cancelled"
    ):
        run.cancel()
    with pytest.raises(tidegate.UsageError, match='timeout is "soon"; expected seconds'):
        run.wait("soon")
    with pytest.raises(tidegate.UsageError, match="compare received no run"):
        tidegate.compare()


def test_an_endpoint_is_ejected(run: tidegate.Run, shared: Cli, tmp_path: Path) -> None:
    folder = tidegate.endpoint(run.name, home=shared.home).eject(tmp_path / "out")
    assert (folder / "server.py").is_file()
    with pytest.raises(tidegate.UsageError, match="expected one of this home, by its name"):
        tidegate.endpoint("http://127.0.0.1:1", home=shared.home).eject(tmp_path / "other")
