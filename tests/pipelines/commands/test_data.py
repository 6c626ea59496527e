"""`tidegate data`: the columns of a file or an experiment, without a run."""

from pathlib import Path

import pytest

from tidegate.pipelines.commands.data import data
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.parser import make_parser


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("id;day;y\n" + "".join(f"u{row};2025-01-{1 + row % 28};{row % 2}\n" for row in range(80)))
    return path


@pytest.mark.parametrize(("column", "task"), [("y", "classification"), (None, "numeric")])
def test_a_file_is_looked_at_with_or_without_what_to_predict(
    file: Path, column: str | None, task: str
) -> None:
    result = data(str(file), column, [], [])
    kinds = {entry["name"]: entry["kind"] for entry in result.data["columns"]}
    assert kinds == {"id": "refused", "day": "date", "y": task}
    assert result.data["rows"] == 80
    assert result.exit_code == 0
    assert "day: date (by values), 28 distinct, 0 missing" in result.text
    assert "warning: column 'id' holds 80 different texts in 80 rows" in result.text


def test_an_experiment_says_what_its_inputs_are(file: Path) -> None:
    path = file.with_name("rows.yaml")
    stated = "source: ./rows.csv, target: y, inputs: [{name: id, kind: id}, day]"
    path.write_text(f"name: rows\ndata: {{{stated}}}\nmodel: {{family: mlp}}\n")
    assert data(str(path), None, [], []).data["columns"][0]["kind"] == "id"
    changed = data(str(path), None, ["data.inputs=[day]"], [])
    assert [entry["name"] for entry in changed.data["columns"]] == ["day", "y"]
    assert data("wine", None, [], []).data["rows"] == 178


@pytest.mark.parametrize(
    ("name", "column", "overrides", "words"),
    [("rows.csv", "y", ["data.target=y"], "is no experiment"), ("wine", "class", [], "is an experiment")],
)
def test_what_would_be_ignored_is_refused(
    file: Path, name: str, column: str, overrides: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        data(str(file) if name == file.name else name, column, overrides, [])


def test_the_dialect_of_a_file_can_be_stated(file: Path) -> None:
    args = make_parser().parse_args(["data", str(file), "y", "--csv", "delimiter=;"])
    assert data(args.file, args.column, args.overrides, args.csv).data["rows"] == 80
