"""`data.csv` and `--csv`: what is stated of a dialect, and the words of a mistake."""

from typing import Any

import pytest

from tidegate.models.data.read_options import CsvOptions
from tidegate.pipelines.commands.csv_options import csv_options
from tidegate.pipelines.errors import ExperimentError, UsageError
from tidegate.pipelines.experiment.load import validate

DATA: dict[str, Any] = {"source": "rows.csv", "target": "y"}


def stated(csv: Any, **more: Any) -> Any:
    return validate(
        {"name": "a", "data": DATA | more | {"csv": csv}, "model": {"family": "mlp"}}, "experiment.yaml"
    ).data.csv


def test_a_dialect_is_stated() -> None:
    assert stated({"delimiter": "tab", "decimal": ",", "encoding": "cp1250"}).delimiter == "\t"
    asked = ["delimiter=;", "decimal=,", "missing=NA", "missing=-"]
    assert csv_options(asked) == CsvOptions(";", ",", missing=("NA", "-"))
    assert csv_options([]) is None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two characters": ({"delimiter": ";;"}, "';;' is 2 characters; expected one, or tab"),
    "an encoding": ({"encoding": "utf-9"}, "'utf-9' is not known; expected one such as utf-8"),
    "no encoding of text": ({"encoding": "base64"}, "'base64' is not known"),
    "another decimal": ({"decimal": ";"}, "decimal"),
    "the same marks": ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
    "delimiter and quote": ({"delimiter": "'", "quote": "'"}, "delimiter and quote are both"),
    "an unknown key": ({"delimeter": ";"}, "delimiter"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_dialect_is_told(name: str) -> None:
    csv, words = WRONG[name]
    with pytest.raises(ExperimentError) as told:
        stated(csv)
    assert words in str(told.value)
    with pytest.raises(UsageError) as told_too:
        csv_options([f"{key}={value}" for key, value in csv.items()])
    assert words in str(told_too.value)


def test_a_dialect_of_what_is_no_csv_is_told() -> None:
    with pytest.raises(ExperimentError, match="csv is stated, and the data is parquet"):
        stated({"decimal": ","}, format="parquet")
