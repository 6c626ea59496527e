"""Sentences of readers about the rows of `predict`, where there is no experiment file to change."""

from pathlib import Path

import pytest

from tidegate.models.data.read_options import CsvOptions
from tidegate.pipelines.batch import open_batch_input
from tidegate.pipelines.batch.wording import of_options
from tidegate.pipelines.errors import UsageError

INPUTS = [{"name": "a", "kind": "numeric", "dtype": "float32", "shape": []}]
CASES: dict[str, tuple[bytes | None, str | None, str]] = {
    "cp1251.csv": ("a,b\n1,Москва\n".encode("cp1251"), None, "or set --csv encoding=…, such as cp1250"),
    "ascii.csv": ("a,b\n1,Москва\n".encode("cp1251"), "ascii", "expected what --csv encoding=… says"),
    "quote.csv": (b'a,b\n1,"x\n', None, "or set --csv delimiter=… --csv quote=…"),
    "zero.csv": (b"a,b\n1,\0\n", None, "expected CSV; set --csv encoding=…, or give it its format's suffix"),
    "it.parquet": (b"zz", None, "write it again, or give it its format's suffix"),
    "it.xyz": (b"1", None, "; give it its format's suffix"),
    "none.csv": (None, None, "none.csv does not exist; expected a file or folder"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_cannot_be_read_is_told_in_options_of_the_command(name: str, tmp_path: Path) -> None:
    content, encoding, words = CASES[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    stated = None if encoding is None else CsvOptions(encoding=encoding)
    with pytest.raises(UsageError) as raised:
        list(open_batch_input([str(path)], INPUTS, 10, csv=stated).chunks)
    assert words in str(raised.value)
    assert "data." not in str(raised.value) and "experiment" not in str(raised.value)


def test_what_is_told_names_options_too() -> None:
    assert of_options("if that is wrong, set data.csv: {delimiter: …}").endswith("set --csv delimiter=…")
    assert of_options("set data.csv: {missing: ['-', '?']}") == "set --csv missing=…"
