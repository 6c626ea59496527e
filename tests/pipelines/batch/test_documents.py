"""Text files as rows of `tidegate predict`: a file, a folder of them, and what is not one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.pipelines.batch import open_batch_input
from tidegate.pipelines.errors import UsageError

TEXT: dict[str, Any] = {"name": "text", "kind": "text", "dtype": "str", "shape": ()}


def test_each_file_of_a_folder_is_a_row_and_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    files = {"b.txt": "second".encode("utf-16"), "a.md": b"first", "sub/3": "dritter, schön".encode("cp1252")}
    for name, content in {**files, ".hidden": b"no", "picture.png": b"no"}.items():
        (tmp_path / name).write_bytes(content)
    opened = open_batch_input([str(tmp_path)], [TEXT], 2)
    assert list(opened.chunks) == [["first", "second"], ["dritter, schön"]]
    assert opened.names == [str(tmp_path / name) for name in ("a.md", "b.txt", "sub/3")]
    alone = open_batch_input([str(tmp_path / "b.txt"), str(tmp_path / "sub")], [TEXT], 5)
    assert list(alone.chunks) == [["second", "dritter, schön"]]


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected files ending in \.md, \.text, \.txt"):
        open_batch_input([str(tmp_path)], [TEXT], 5)
    (tmp_path / "a.txt").write_bytes(b"a\0b")
    with pytest.raises(UsageError, match="it has a zero byte"):
        list(open_batch_input([str(tmp_path)], [TEXT], 5).chunks)
