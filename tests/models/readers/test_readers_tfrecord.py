"""TFRecord as TensorFlow writes it."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.models.readers.test_readers_folders import read
from tidegate.models.data.sources import guess_format
from tidegate.models.errors import FormatError, SchemaError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.readers.tfrecord import masked_crc32c


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
