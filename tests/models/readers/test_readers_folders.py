"""Data sets of many files: recordings by class, shards of any format."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models import readers
from tidegate.models.data.columns import Columns, concat, rows_of
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.sources import bytes_in_memory, existing, file_sizes, guess_format, source_digest
from tidegate.models.errors import DataError, FormatError, SchemaError, SourceError
from tidegate.models.preprocessing.prepare import prepare


def read(path: Path, name: str, columns: list[str] | None = None, **more: Any) -> Columns:
    with recorded():
        return concat(list(readers.read(path, name, columns, **more)))


# --- recordings --------------------------------------------------------------------------------------------


def recording(path: Path, numbers: np.ndarray, rate: int = 8000, width: int = 2, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(numbers.tobytes())
    return path


def test_recordings_become_sequences_of_samples(tmp_path: Path) -> None:
    recording(tmp_path / "low" / "1.wav", np.array([0, 16384, -32768], "<i2"))
    recording(tmp_path / "low" / "2.wav", np.array([128, 255], "u1"), width=1)
    recording(
        tmp_path / "high" / "1.wav", np.array([[2**30, 0], [-(2**31), -(2**31)]], "<i4"), width=4, channels=2
    )
    recording(tmp_path / "high" / "2.wav", np.array([0, 0, 0x40, 0, 0, 0x80], "u1"), width=3)
    assert guess_format(tmp_path) == "audio_folder"
    found = read(tmp_path, "audio_folder")
    nan = np.nan
    expected = [[0.25, -1, nan], [0.5, -1, nan], [0, 0.5, -1], [0, 127 / 128, nan]]
    np.testing.assert_array_equal(found["audio"], np.array(expected, np.float32))
    assert found["label"].tolist() == ["high", "high", "low", "low"]
    assert list(read(tmp_path, "audio_folder", ["label"])) == ["label"]
    for place in range(20):
        recording(tmp_path / "low" / f"{place}.wav", np.arange(5 + place, dtype="<i2"))
    made = prepare(source=tmp_path, target=["label"], sample_rate=8000)
    assert [(field.name, field.kind) for field in made.schema.inputs] == [("audio", "sequence")]


def test_recordings_that_do_not_fit_are_told(tmp_path: Path) -> None:
    first = recording(tmp_path / "a" / "1.wav", np.arange(9, dtype="<i2"))
    second = recording(tmp_path / "b" / "2.wav", np.arange(9, dtype="<i2"), rate=16000)
    with pytest.raises(
        FormatError, match=r"2.wav has 16000 samples per second; expected 8000, as in 1.wav; .*-ar 8000"
    ):
        read(tmp_path, "audio_folder")
    with pytest.raises(
        FormatError, match=r"1.wav has 8000 samples .* expected 16000, as data.sample_rate says"
    ):
        read(tmp_path, "audio_folder", sample_rate=16000)
    whole = first.read_bytes()
    recording(second, np.arange(9, dtype="<i2"))
    for content, words in (
        (whole[:-4], "ends before its 9 samples do"),
        (whole[:20], "cannot be read"),
        (b"no wave", "cannot be read"),
        (
            whole.replace(b"\x10\x00\x00\x00\x01\x00", b"\x10\x00\x00\x00\x03\x00"),
            "unknown format: 3; .*pcm_s16le",
        ),
    ):
        first.write_bytes(content)
        with pytest.raises(FormatError, match=rf"recording .*1.wav .*{words}"):
            read(tmp_path, "audio_folder")
    first.unlink()
    with pytest.raises(
        FormatError, match=r"class folder .*a has no recordings; expected files ending in .wav"
    ):
        read(tmp_path, "audio_folder")
    with pytest.raises(SourceError, match=r"data.sample_rate is 9 and data.format is csv"):
        read(tmp_path, "csv", sample_rate=9)


# --- shards ------------------------------------------------------------------------------------------------


def test_a_folder_or_a_pattern_of_files_is_one_data_set(tmp_path: Path) -> None:
    for place in range(3):
        (tmp_path / f"part-{place}.csv").write_text(f"a,b\n{place},x\n{place + 0.5},y\n")
    (tmp_path / "other.txt").write_text("no data")
    pattern = tmp_path / "part-*.csv"
    assert guess_format(pattern) == "csv"
    for source in (pattern, tmp_path):
        found = read(existing(source), "csv")
        assert found["a"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
        assert rows_of(found) == 6
    assert source_digest(source=pattern) != source_digest(source=tmp_path)
    assert bytes_in_memory(file_sizes(pattern), "csv") == 4 * sum(
        f.stat().st_size for f in tmp_path.glob("*.csv")
    )
    with pytest.raises(SourceError, match=r"the format of .* is unknown.*set data.format"):
        guess_format(tmp_path)
    with pytest.raises(SourceError, match=r"gone-\*.csv matches no file"):
        existing(tmp_path / "gone-*.csv")


def test_shards_with_different_columns_are_told(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,c\n1,2\n")
    with pytest.raises(FormatError, match=r"2.csv has the column c and no column b, unlike 1.csv"):
        read(tmp_path, "csv")
    with pytest.raises(SchemaError, match="'b' is not a column"):
        read(tmp_path, "csv", ["b"])


def test_a_large_npz_comes_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.models.readers.npz.WHOLE_BYTES", 0)
    monkeypatch.setattr("tidegate.models.readers.CHUNK_BYTES", 1000)
    columns = {
        "x": np.arange(600, dtype=">i2").reshape(100, 3, 2),
        "y": np.array(["a", "ö"] * 50),
        "b": np.arange(100) % 2 == 0,
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "d.npz", **columns)
        chunks = list(readers.read(tmp_path / "d.npz", "npz"))
        assert len(chunks) > 1
        found = concat(chunks)
        assert found["x"].dtype.isnative
        np.testing.assert_array_equal(found["x"], columns["x"])
        assert found["y"].tolist() == columns["y"].tolist()
        assert found["b"].dtype == np.bool_
    for wrong, words in (
        ({"x": np.asfortranarray(columns["x"])}, "column by column.*ascontiguousarray"),
        ({"x": np.array([{}], object)}, "pickled"),
        ({"x": np.arange(3), "y": np.arange(4)}, "different lengths: x 3, y 4"),
    ):
        np.savez(tmp_path / "d.npz", allow_pickle=True, **wrong)
        with pytest.raises(DataError, match=words):
            read(tmp_path / "d.npz", "npz")


def test_a_parquet_of_large_rows_comes_in_chunks_typed_as_lists_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.models.readers.CHUNK_BYTES", 1 << 20)
    import pyarrow
    import pyarrow.parquet

    small = pyarrow.array([[row % 256, 7] for row in range(3000)], pyarrow.list_(pyarrow.uint8()))
    wide = pyarrow.array([[0.5] * 400] * 3000, pyarrow.list_(pyarrow.float32(), 400))
    holes = pyarrow.array([[1.0, 2.0], None] * 1500, pyarrow.list_(pyarrow.float64()))
    pyarrow.parquet.write_table(pyarrow.table({"s": small, "w": wide, "h": holes}), tmp_path / "d.parquet")
    chunks = list(readers.read(tmp_path / "d.parquet", "parquet"))
    assert len(chunks) > 1
    found = concat(chunks)
    assert (found["s"].dtype, found["w"].dtype) == (np.int64, np.float64)
    assert found["s"][300].tolist() == [300 % 256, 7]
    assert found["w"].shape == (3000, 400)
    np.testing.assert_array_equal(found["h"][:2], [[1, 2], [np.nan, np.nan]])
