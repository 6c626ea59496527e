"""Data sets of many files: TFRecord as TensorFlow writes it, recordings by class, shards of any format."""

from __future__ import annotations

import gzip
import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tidegate.models import readers
from tidegate.models.data.columns import Columns, concat, rows_of
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.sources import bytes_in_memory, existing, file_sizes, guess_format, source_digest
from tidegate.models.errors import DataError, FormatError, SchemaError, SourceError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.readers.tfrecord import masked_crc32c


def read(path: Path, name: str, columns: list[str] | None = None, **more: Any) -> Columns:
    with recorded():
        return concat(list(readers.read(path, name, columns, **more)))


# --- TFRecord ----------------------------------------------------------------------------------------------


def records(path: Path, rows: list[dict[str, Any]], compression: str = "") -> Path:
    """Written by TensorFlow itself."""
    import tensorflow as tf

    def feature(value: Any) -> Any:
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            features = tf.train.Features(feature={name: feature(value) for name, value in row.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path


def png(value: int, size: tuple[int, int] = (3, 2)) -> bytes:
    content = io.BytesIO()
    Image.new("L", size, value).save(content, "PNG")
    return content.getvalue()


def test_tfrecord_is_read_as_tensorflow_writes_it(tmp_path: Path) -> None:
    rows = [
        {"x": [float(row), -0.5], "n": -(2**62) + row, "k": [row, 300, -1], "s": f"Zürich {row}".encode()}
        for row in range(2500)
    ]
    found = read(records(tmp_path / "d.tfrecord", rows), "tfrecord")
    assert found["x"].dtype == np.float32
    np.testing.assert_array_equal(found["x"], [row["x"] for row in rows])
    assert found["n"].tolist() == [row["n"] for row in rows]
    assert found["k"].tolist() == [row["k"] for row in rows]
    assert found["s"].tolist() == [row["s"].decode() for row in rows]
    zipped = records(tmp_path / "d.tfrecord.gz", rows[:3], "GZIP")
    assert read(zipped, "tfrecord", ["n"])["n"].tolist() == [row["n"] for row in rows[:3]]
    assert guess_format(zipped) == guess_format(Path("a.tfrecord-00001-of-00012")) == "tfrecord"


def test_tfrecord_with_encoded_images_and_missing_values(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image": png(9), "y": 1},
        {"image": png(7), "y": 0, "more": 1},
        {"image": png(5, (6, 4))},
    ]
    found = read(records(tmp_path / "d.tfrecord", rows), "tfrecord")
    assert found["image"].shape == (3, 2, 3)  # as most
    assert found["image"][:, 0, 0].tolist() == [9, 7, 5]
    np.testing.assert_array_equal(found["y"], [1, 0, np.nan])
    assert "more" not in found


def test_a_tfrecord_that_is_not_whole_is_told(tmp_path: Path) -> None:
    path = records(tmp_path / "d.tfrecord", [{"y": row} for row in range(40)])
    content = path.read_bytes()
    length = len(content) // 40
    path.write_bytes(content[:-3])
    with pytest.raises(FormatError, match=rf"record 40, at byte {39 * length}, is cut off by the end"):
        read(path, "tfrecord")
    for place, words in ((12 + 3, "is corrupt: its checksum is"), (0, "length whose checksum is wrong")):
        broken = bytearray(content)
        broken[7 * length + place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(FormatError, match=rf"record 8, at byte {7 * length},.*{words}"):
            read(path, "tfrecord")
    path.write_bytes(gzip.compress(content))
    with pytest.raises(FormatError, match="record 1, at byte 0"):
        read(path, "tfrecord")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"y": 1}, {"y": 1.5}], r"record 2: feature 'y' is a float_list of 1; expected a int64_list of 1"),
        ([{"y": [1, 2]}, {"y": [1]}], r"record 2: feature 'y' is a int64_list of 1; .*pad or crop"),
        ([{"s": b"\xff\xfe"}], "neither text in UTF-8 nor an image"),
        ([{"s": [b"a", b"b"]}], "holds 2 strings"),
        ([{"s": png(1)[:20]}], "record 1, feature 's', cannot be read"),
    ],
)
def test_a_record_unlike_the_first_is_told(tmp_path: Path, rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read(records(tmp_path / "d.tfrecord", rows), "tfrecord")


def test_a_record_that_is_no_example_is_told(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "d.tfrecord")) as writer:
        writer.write(b"\x0a\xff\x01plain")
    with pytest.raises(FormatError, match=r"record 1 is no tf.train.Example"):
        read(tmp_path / "d.tfrecord", "tfrecord")
    with pytest.raises(SchemaError, match="target 'z' is not a column"):
        prepare(source=records(tmp_path / "e.tfrecord", [{"x": 1.0, "y": 1}] * 9), target=["z"])


def unmasked(masked: int) -> int:
    """The reverse as TensorFlow has it, `crc32c::Unmask`."""
    turned = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((turned >> 17) | (turned << 15)) & 0xFFFFFFFF


def bit_by_bit(record: bytes) -> int:
    """CRC-32C by its definition: division by Castagnoli's polynomial, here with its bits reversed."""
    state = 0xFFFFFFFF
    for byte in record:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def test_checksums_are_those_of_the_standard() -> None:
    # RFC 3720, appendix B.4; and the check value of CRC-32C.
    known = {
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
        b"123456789": 0xE3069283,
    }
    assert [unmasked(masked_crc32c(record)) for record in known] == list(known.values())
    draw = np.random.default_rng(3)
    some = [draw.bytes(int(size)) for size in (0, 1, 3, 4, 5, 1023, 1024, 1025, 4096, 10_001)]
    assert [unmasked(masked_crc32c(record)) for record in some] == [bit_by_bit(record) for record in some]


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
