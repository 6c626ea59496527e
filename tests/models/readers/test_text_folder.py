"""Documents in folders by class: encodings, other files, and the kinds that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.reading import read
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.sources import guess_format
from tidegate.models.errors import FormatError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.readers.text_folder import document


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def test_a_file_is_one_document_whatever_its_encoding(tmp_path: Path) -> None:
    text = "Grüße aus Köln,\nnoch eine Zeile\n"
    files = {
        "bad/1.txt": text.encode(),
        "bad/2.TXT": text.encode("utf-8-sig"),
        "good/3.txt": text.encode("utf-16"),
        "good/4.txt": text.encode("cp1252"),
        "good/5.md": b"",
        "good/.DS_Store": b"\0",
    }
    path = folder_of(tmp_path / "mail", files)
    assert guess_format(path) == "text_folder"
    found = read(path, "text_folder")
    assert found["text"].tolist() == [text, text, text, text, ""]
    assert found["label"].tolist() == ["bad", "bad", "good", "good", "good"]
    assert read(path, "text_folder", ["label"]).keys() == {"label"}


def test_what_is_not_utf_8_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    path = folder_of(tmp_path, {"a/1": "schön".encode("cp1252"), "a/x.pdf": b"%PDF", "b/2": b"plain"})
    with recorded() as told:
        from tidegate.models import readers

        list(readers.read(path, "text_folder"))
    assert any("1 files in" in one and "such as x.pdf" in one and "left out" in one for one in told)
    assert any("1 of 2 files" in one and "such as 1, are not UTF-8" in one for one in told)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Привет всем".encode("cp1251"), "is no UTF-8 text: invalid .* at byte 0"),
        ("Grüße, ".encode() * 9 + b"\xff", "is no UTF-8 text"),
        (b"a\0b", "is no UTF-8 text: it has a zero byte"),
    ],
)
def test_what_is_no_text_is_an_error_that_names_the_file(content: bytes, said: str, tmp_path: Path) -> None:
    path = folder_of(tmp_path, {"a/1.txt": content, "b/2.txt": b"fine"})
    with pytest.raises(FormatError, match=rf"1\.txt {said}"):
        read(path, "text_folder")
    with pytest.raises(FormatError):
        document(path / "a/1.txt")


def test_folders_of_other_files_stay_what_they_were(tmp_path: Path) -> None:
    images = folder_of(
        tmp_path / "images", {"a/1.png": b"x", "a/2.png": b"x", "b/1.png": b"x", "b/notes.txt": b""}
    )
    sounds = folder_of(tmp_path / "sounds", {"a/1.wav": b"x", "a/1.txt": b"", "b/1.txt": b"", "b/2.txt": b""})
    assert guess_format(images) == "image_folder" and guess_format(sounds) == "audio_folder"


def test_short_documents_are_texts_too(tmp_path: Path) -> None:
    path = folder_of(tmp_path, {f"{'ab'[row % 2]}/{row}.txt": f"word{row % 3}".encode() for row in range(40)})
    with recorded():
        prepared = prepare(source=path, target=["label"])
    assert [(field.name, field.kind) for field in prepared.schema.inputs] == [("text", "text")]
    assert prepared.schema.target.classes == ("a", "b")


def test_what_lies_beside_or_below_the_class_folders_is_told(tmp_path: Path) -> None:
    names = ("good/1.txt", "good/deeper/2.txt", "bad/3", "top.txt", ".hidden", "bad/.keep")
    path = folder_of(tmp_path, dict.fromkeys(names, b"words"))
    with recorded() as told:
        from tidegate.models import readers

        chunks = list(readers.read(path, "text_folder"))
    assert [label for chunk in chunks for label in chunk["label"]] == ["bad", "good"]
    assert any("2 files or folders in" in one and "such as good/deeper, are left out" in one for one in told)
    folder_of(tmp_path, {"empty/.keep": b""})
    with pytest.raises(FormatError, match=r"class folder .*empty has no texts"):
        read(path, "text_folder")
