"""Image files of every depth, mode and orientation: what training reads, and that the endpoint reads the same."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tidegate.models.data.columns import concat
from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import FormatError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.schema import Field
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.readers import read
from tidegate.pipelines.batch import open_batch_input
from tidegate.serving.contract.encoded_images import can_encode, decode_image, encode_image
from tidegate.serving.errors import ContractError

GRAY16 = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
GRAY8 = (GRAY16 >> 8).astype(np.uint8)
FLOATS = np.linspace(-1, 2, 12, dtype=np.float32).reshape(3, 4)
WHOLE = (np.arange(12, dtype=np.int32) * 100_000 - 300_000).reshape(3, 4)
COLOUR = np.stack([GRAY8, GRAY8[::-1], 255 - GRAY8], axis=2)


def encoded(array: NDArray[Any], kind: str = "PNG", turned: int | None = None, mode: str = "") -> bytes:
    """An image file; `turned` is stored as its EXIF orientation."""
    exif, content = Image.Exif(), io.BytesIO()
    if turned:
        exif[0x0112] = turned
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(content, kind, **({"exif": exif} if turned else {}))
    return content.getvalue()


def deep_colour() -> bytes:
    """A PNG file of 16 bits per channel, which Pillow cannot write; its upper bytes are COLOUR."""

    def part(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    lines = (COLOUR.astype(">u2") << 8 | 0x7F).astype(">u2").reshape(3, 12)
    head = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b"")


def folder(path: Path, *files: bytes) -> Path:
    """An image folder of two classes; the first has all files but the last."""
    for place, content in enumerate(files):
        label = path / ("b" if place == len(files) - 1 else "a")
        label.mkdir(parents=True, exist_ok=True)
        (label / f"{place}.png").write_bytes(content)
    return path


def images(path: Path) -> tuple[NDArray[Any], list[str]]:
    """What the reader makes of a folder, and what it tells."""
    with recorded() as told:
        return concat(list(read(path, "image_folder", ["image"])))["image"], told


def field_of(column: NDArray[Any]) -> Field:
    labels = np.arange(len(column)) % 2
    return infer_schema(
        {"image": column, "y": labels}, [{"name": "image", "kind": "image"}], ["y"], None
    ).inputs[0]


KINDS: dict[str, tuple[bytes, NDArray[Any], str]] = {
    "gray": (encoded(GRAY8), GRAY8, ""),
    "gray of 16 bits": (encoded(GRAY16), GRAY16, ""),
    "TIFF of 16 bits": (encoded(GRAY16, "TIFF"), GRAY16, ""),
    "PGM of 16 bits": (encoded(GRAY16, "PPM"), GRAY16, ""),
    "TIFF of 32 bits": (encoded(WHOLE, "TIFF"), WHOLE, ""),
    "TIFF of floats": (encoded(FLOATS, "TIFF"), FLOATS, ""),
    "colour": (encoded(COLOUR), COLOUR, ""),
    "colour of 16 bits": (deep_colour(), COLOUR, "colours of 16 bits, read with 8"),
    "transparency": (encoded(COLOUR, mode="RGBA"), COLOUR, "transparent in parts, read without it"),
    "transparent gray": (encoded(GRAY8, mode="LA"), GRAY8, "transparent in parts, read without it"),
    "CMYK": (encoded(COLOUR, "TIFF", mode="CMYK"), COLOUR, "colours of mode CMYK, read as RGB"),
    "palette": (
        encoded(COLOUR, mode="P"),
        np.asarray(Image.fromarray(COLOUR).convert("P").convert("RGB")),
        "colours from a palette, read as RGB",
    ),
    **{
        f"{kind} turned by {turned}": (
            encoded(array, kind, turned),
            np.asarray(turn(array)),
            "turned upright, as their EXIF orientation says",
        )
        for kind, array in (("PNG", COLOUR), ("TIFF", GRAY8), ("TIFF", GRAY16), ("WEBP", COLOUR))
        for turned, turn in {
            2: np.fliplr,
            3: lambda pixels: np.rot90(pixels, 2),
            4: np.flipud,
            5: lambda pixels: np.swapaxes(pixels, 0, 1),
            6: lambda pixels: np.rot90(pixels, -1),
            7: lambda pixels: np.rot90(np.fliplr(pixels), -1),
            8: np.rot90,
        }.items()
        if kind != "WEBP" or turned == 6
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_training_predict_and_endpoint_read_a_file_alike(kind: str, tmp_path: Path) -> None:
    content, expected, said = KINDS[kind]
    found, told = images(folder(tmp_path, content, content))
    assert found.dtype == expected.dtype
    if kind.startswith("WEBP"):  # loses a little
        assert found[0].shape == expected.shape
    else:
        np.testing.assert_array_equal(found[0], expected)
    assert any(said in sentence for sentence in told) == bool(told)
    field = field_of(found)
    assert field.upright
    decoded, size = decode_image(field, content)
    np.testing.assert_array_equal(decoded, found[0])
    assert (decoded.dtype, size) == (found.dtype, expected.shape[:2])
    entry = field.model_dump(mode="json")
    (rows,) = open_batch_input([str(tmp_path / "a" / "0.png")], [entry], 10).chunks
    np.testing.assert_array_equal(np.array(rows[0], found.dtype), found[0])


def test_half_of_the_photos_stored_on_their_side_have_the_size_that_viewers_show(tmp_path: Path) -> None:
    upright, side = encoded(COLOUR), encoded(np.rot90(COLOUR), turned=6)
    found, told = images(folder(tmp_path, upright, side, side))
    np.testing.assert_array_equal(found, [COLOUR] * 3)
    assert told == ["2 of 3 images: turned upright, as their EXIF orientation says and viewers show them"]


def test_one_gray_image_does_not_take_the_colour_of_the_others(tmp_path: Path) -> None:
    found, told = images(folder(tmp_path, encoded(GRAY8), encoded(GRAY8), encoded(COLOUR)))
    np.testing.assert_array_equal(found, [np.stack([GRAY8] * 3, 2), np.stack([GRAY8] * 3, 2), COLOUR])
    assert "2 of 3 images are gray and the others have colour: all are read in colour" in told[0]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (encoded(GRAY8), r"1.png has 8 bits a channel; expected 16 bits, as most"),
        (encoded(FLOATS, "TIFF"), "1.png has 32-bit floats; expected 16 bits"),
        (encoded(WHOLE, "TIFF"), "1.png has 32-bit whole numbers; expected 16 bits"),
    ],
)
def test_depths_that_do_not_go_together_are_refused(other: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=words):
        images(folder(tmp_path, encoded(GRAY16), other, encoded(GRAY16)))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([GRAY8, GRAY16, GRAY8], "has 16 bits; expected 8 bits a channel, as most of the others have"),
        (
            [GRAY8, GRAY16],
            "has 16 bits; .* in all files .of 2 files 1 have 8 bits a channel, 1 have 16 bits.;",
        ),
        ([COLOUR, GRAY16, COLOUR], "has 16 bits; expected 8 bits a channel, as images in colour have"),
    ],
)
def test_16_bits_among_8_are_refused(files: list[NDArray[Any]], words: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=words):
        images(folder(tmp_path, *map(encoded, files)))


def test_deep_images_are_resized_in_their_own_depth(tmp_path: Path) -> None:
    large = np.repeat(np.repeat(GRAY16, 2, axis=0), 2, axis=1)
    for small, doubled in ((GRAY16, large), (FLOATS, np.kron(FLOATS, np.ones((2, 2), np.float32)))):
        contents = [encoded(small, "TIFF"), encoded(doubled, "TIFF"), encoded(small, "TIFF")]
        found, _ = images(folder(tmp_path / str(small.dtype), *contents))
        np.testing.assert_allclose(found[1], small, atol=0.06 * float(np.ptp(small)))
        assert found[1].max() <= small.max()


@pytest.mark.parametrize("kind", ["gray of 16 bits", "TIFF of 32 bits", "TIFF of floats"])
def test_a_deep_image_is_sent_as_a_file_that_holds_it(kind: str) -> None:
    expected = KINDS[kind][1]
    field = field_of(np.stack([expected] * 2))
    assert can_encode(field)
    assert not can_encode(field.model_copy(update={"upright": None}))
    sent = base64.b64decode(encode_image(field, expected)["b64"])
    np.testing.assert_array_equal(decode_image(field, sent)[0], expected)


@pytest.mark.parametrize(
    ("kind", "sent", "words"),
    [
        ("gray of 16 bits", "gray", "an image file of 8 bits a channel; expected 16 bits, as in training"),
        ("gray", "TIFF of floats", "an image file of 32-bit floats; expected 8 bits a channel"),
        ("gray", "gray of 16 bits", "an image file of 16 bits; expected 8 bits a channel, as in training"),
        ("colour", "gray of 16 bits", "an image file of 16 bits; expected 8 bits a channel, as in training"),
        ("TIFF of floats", "gray of 16 bits", "an image file of 16 bits; expected 32-bit floats"),
    ],
)
def test_the_endpoint_refuses_a_file_of_a_depth_it_cannot_compare(kind: str, sent: str, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        decode_image(field_of(np.stack([KINDS[kind][1]] * 2)), KINDS[sent][0])


def test_a_float_image_that_holds_nan_is_refused_as_an_array_is() -> None:
    broken = FLOATS.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ContractError, match="holds NaN"):
        decode_image(field_of(np.stack([FLOATS] * 2)), encoded(broken, "TIFF"))


def test_releases_of_before_read_files_as_they_did() -> None:
    old = Field(name="image", kind="image", dtype="uint8", shape=(3, 4))
    assert decode_image(old, encoded(GRAY16))[0].max() == 255  # cut off
    side = encoded(np.rot90(GRAY8), turned=6)
    stored, size = decode_image(old.model_copy(update={"shape": (4, 3)}), side)
    np.testing.assert_array_equal(stored, np.rot90(GRAY8))
    assert size == (4, 3)


@pytest.mark.parametrize(
    ("largest", "divisor"),
    [(200, 255), (1000, 1023), (4000, 4095), (9000, 16383), (32000, 65535)],
)
def test_images_of_16_bits_are_divided_by_the_white_of_their_depth(
    largest: int, divisor: float, tmp_path: Path
) -> None:
    made = [np.full((3, 4), value, np.uint16) for value in (0, largest, *[largest // 2] * 8)]
    for place, pixels in enumerate(made):
        label = tmp_path / "ab"[place % 2]
        label.mkdir(exist_ok=True)
        (label / f"{place}.png").write_bytes(encoded(pixels))
    split = {"validation": 0.0, "test": 0.1, "seed": 3}
    prepared = prepare(source=tmp_path, format="image_folder", target=["label"], split=split)
    found = prepared.transforms.apply({"image": np.stack(made[:2])})["image"]
    np.testing.assert_allclose(found.max(), largest / divisor, rtol=1e-6)
    told = "".join(prepared.summary["warnings"])
    assert f"uint16, and are divided by {divisor}" in told


def test_the_range_of_images_with_negative_numbers_is_told(tmp_path: Path) -> None:
    made = np.full((20, 3, 4), -64, np.int8)
    made[::2] = 32 + np.arange(10)[:, None, None]
    np.savez(tmp_path / "signed.npz", a=made, y=np.arange(20) % 2)
    prepared = prepare(
        source=tmp_path / "signed.npz",
        inputs=[{"name": "a", "kind": "image"}],
        target=["y"],
        split={"test": 0.3},
    )
    (entry,) = (entry for entry in prepared.summary["columns"] if entry["name"] == "a")
    least = prepared.transforms.apply(prepared.splits["train"])["a"].min()
    assert entry["model"].startswith(f"3 x 4 x 1 pixels, {least:.3g} to ")
    assert f"the model gets values from {least:.3g} to " in "".join(prepared.summary["warnings"])


def test_scale_none_gives_the_stored_numbers(tmp_path: Path) -> None:
    files = [encoded(GRAY8 + value) for value in range(10)]
    for place, content in enumerate(files):
        label = tmp_path / "ab"[place % 2]
        label.mkdir(exist_ok=True)
        (label / f"{place}.png").write_bytes(content)
    prepared = prepare(
        source=tmp_path, format="image_folder", inputs=[{"name": "image", "scale": "none"}], target=["label"]
    )
    found = prepared.transforms.apply({"image": GRAY8[None]})["image"]
    np.testing.assert_array_equal(found[0, :, :, 0], GRAY8)
    assert "divided" not in "".join(prepared.summary["warnings"])
