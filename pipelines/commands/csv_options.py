"""The dialect of a .csv, as `--csv KEY=VALUE` states it."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from tidegate.models.data.read_options import CsvOptions
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.data_parts.csv import Csv


def csv_options(stated: Sequence[str]) -> CsvOptions | None:
    """From KEY=VALUE, each key once except `missing`; None: nothing is stated. Raises UsageError."""
    if not stated:
        return None
    found: dict[str, Any] = {}
    for entry in stated:
        key, mark, value = entry.partition("=")
        if not mark or key not in Csv.model_fields or (key in found and key != "missing"):
            known = ", ".join(Csv.model_fields)
            raise UsageError(f"--csv {entry}: expected KEY=VALUE with one of {known}; correct it")
        found[key] = [*found.get(key, []), value] if key == "missing" else value
    try:
        return CsvOptions.of(Csv.model_validate(found).model_dump())
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(f"--csv {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
