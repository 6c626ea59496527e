"""Folders of images and of masks: which belong together, what a pixel is read as, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tidegate.models.data.columns import concat
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.sources import guess_format
from tidegate.models.datasets import load
from tidegate.models.errors import FormatError, SchemaError, SourceError
from tidegate.models.preprocessing.prepare import prepare

RANDOM = np.random.default_rng(4)


def image(path: Path, width: int = 6, height: int = 4) -> None:
    Image.fromarray(RANDOM.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(path)


def mask(path: Path, pixels: np.ndarray | None = None, mode: str = "L") -> np.ndarray:
    pixels = RANDOM.integers(0, 3, (4, 6)).astype(np.uint8) if pixels is None else pixels
    picture = Image.fromarray(pixels)
    if mode == "P":
        picture = Image.frombytes("P", picture.size, pixels.tobytes())
        picture.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    picture.save(path)
    return pixels


def folders(path: Path, count: int = 3) -> Path:
    for name in ("images", "masks"):
        (path / name).mkdir()
    for place in range(count):
        image(path / "images" / f"{place}.jpg")
        mask(path / "masks" / f"{place}.png")
    return path


def test_an_image_has_the_mask_of_its_name_whose_pixels_are_read_as_they_are(tmp_path: Path) -> None:
    """Also of a palette, whose colours mean nothing, and of 16 bits."""
    folder = folders(tmp_path)
    palette = mask(folder / "masks" / "1.png", mode="P")
    deep = mask(folder / "masks" / "2.png", RANDOM.integers(0, 300, (4, 6)).astype(np.uint16))
    assert guess_format(folder) == "masks"
    rows = load(source=folder)
    assert rows["image"].shape == (3, 4, 6, 3) and rows["image"].dtype == np.uint8
    assert rows["mask"].dtype == np.uint16
    np.testing.assert_array_equal(rows["mask"][1:], [palette, deep])
    assert list(load(source=folder, columns=["mask"])) == ["mask"]
    with pytest.raises(SchemaError, match="mask"):
        load(source=folder, columns=["masks"])


def test_masks_are_resized_with_their_images_by_the_nearest_pixel(tmp_path: Path) -> None:
    folder = folders(tmp_path)
    image(folder / "images" / "3.png", 12, 8)
    doubled = np.kron(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), np.ones((4, 4), np.uint8))
    mask(folder / "masks" / "3.png", doubled)
    with recorded() as told:
        rows = load(source=folder, format="masks")
    np.testing.assert_array_equal(rows["mask"][3], doubled[::2, ::2])
    assert told == [
        "1 of 4 images are resized to 6x4, the most common size",
        "masks are resized with their images, by the nearest pixel",
    ]


def test_it_is_prepared_by_its_name_alone(tmp_path: Path) -> None:
    prepared = prepare(source=folders(tmp_path, 12), target=[{"name": "mask", "kind": "mask"}])
    (field,), target = prepared.schema.inputs, prepared.schema.target
    assert (field.name, field.kind, field.shape) == ("image", "image", (4, 6, 3))
    assert (target.task, target.classes, target.shape) == ("segmentation", (0, 1, 2), (4, 6))
    assert concat(list(prepared.splits.values()))["mask"].shape == (12, 4, 6)


def test_what_does_not_belong_together_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no folders images and masks"):
        load(source=tmp_path, format="masks")
    folder = folders(tmp_path)
    lonely = folder / "images" / "alone.png"
    image(lonely)
    with pytest.raises(FormatError, match=r"1 of 4 files in .*images have no mask, such as alone\.png"):
        load(source=folder)
    lonely.rename(folder / "images" / "1.png")
    with pytest.raises(FormatError, match=r"1\.jpg and 1\.png; expected one file a name"):
        load(source=folder)
    (folder / "images" / "1.png").unlink()
    whole = mask(folder / "masks" / "0.png", np.zeros((6, 4), np.uint8))
    with pytest.raises(FormatError, match=r"is 4x6 and 0\.jpg is 6x4; expected one size"):
        load(source=folder)
    image(folder / "masks" / "0.png")
    with pytest.raises(FormatError, match=r"0\.png has colours \(RGB\); expected one whole number a pixel"):
        load(source=folder)
    (folder / "masks" / "0.png").unlink()
    mask(folder / "masks" / "0.jpg", whole.T.copy())
    with pytest.raises(FormatError, match=r"0\.jpg is \.jpg, which does not keep each pixel's number"):
        load(source=folder)


def small_png(path: Path, numbers: np.ndarray, bits: int) -> None:
    """A gray PNG of fewer than 8 bits a pixel, which Pillow does not write; rows of whole bytes."""
    shares = np.unpackbits(numbers[..., None], axis=-1)[..., 8 - bits :].reshape(len(numbers), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in shares)
    header = struct.pack(">2I5B", numbers.shape[1], len(numbers), bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    made = (struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(made))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_gray_png_of_few_bits_holds_the_numbers_of_its_file(tmp_path: Path, bits: int) -> None:
    folder = folders(tmp_path)
    numbers = RANDOM.integers(0, min(2**bits, 16), (4, 6)).astype(np.uint8)
    small_png(folder / "masks" / "1.png", numbers, bits)
    np.testing.assert_array_equal(load(source=folder)["mask"][1], numbers)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_tiff_whose_0_is_white_holds_the_numbers_of_its_file(tmp_path: Path, bits: int) -> None:
    """Of one strip, as TIFF 6.0 has it: width, length, bits, compression, photometric, offset, rows, bytes."""
    folder = folders(tmp_path)
    numbers = RANDOM.integers(0, min(2**bits, 16), (4, 6)).astype(np.uint8)
    shares = np.unpackbits(numbers[..., None], axis=-1)[..., 8 - bits :].reshape(4, -1)
    rows = b"".join(np.packbits(row).tobytes() for row in shares)
    tags = ((256, 6), (257, 4), (258, bits), (259, 1), (262, 0), (273, 8), (278, 4), (279, len(rows)))
    rows += b"\0" * (len(rows) % 2)
    entries = b"".join(struct.pack("<HHIHxx", tag, 3, 1, value) for tag, value in tags)
    content = b"II*\0" + struct.pack("<I", 8 + len(rows)) + rows + struct.pack("<H", len(tags)) + entries
    (folder / "masks" / "1.png").unlink()
    (folder / "masks" / "1.tif").write_bytes(content + b"\0" * 4)
    np.testing.assert_array_equal(load(source=folder)["mask"][1], numbers)


@pytest.mark.parametrize(("magic", "most"), [(b"P5", 3), (b"P2", 3), (b"P5", 1000)])
def test_a_pgm_whose_numbers_are_scaled_is_refused(tmp_path: Path, magic: bytes, most: int) -> None:
    folder = folders(tmp_path)
    (folder / "masks" / "1.png").unlink()
    file = folder / "masks" / "1.pgm"
    numbers = b"1 " * 24 if magic == b"P2" else b"\0\1" * 24
    file.write_bytes(magic + b"\n6 4\n%d\n" % most + numbers)
    with pytest.raises(FormatError, match=rf"1\.pgm states {most} as its largest number, .* expected 255 or"):
        load(source=folder)
    file.write_bytes(magic + b"\n6 4\n255\n" + numbers)
    assert load(source=folder)["mask"][1].max() == 1


def test_transparency_and_palettes_of_each_file_are_refused(tmp_path: Path) -> None:
    folder = folders(tmp_path)
    Image.new("LA", (6, 4)).save(folder / "masks" / "0.png")
    with pytest.raises(
        FormatError, match=r"0\.png has brightness and transparency \(LA\); expected one whole"
    ):
        load(source=folder)
    (folder / "masks" / "0.png").unlink()
    Image.new("P", (6, 4)).save(folder / "masks" / "0.gif")
    with pytest.raises(FormatError, match=r"0\.gif is \.gif, whose places in the palette are others in each"):
        load(source=folder)


def test_an_image_and_its_mask_are_turned_upright_alike(tmp_path: Path) -> None:
    folder = folders(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = np.arange(24, dtype=np.uint8).reshape(6, 4)
    for name in ("images", "masks"):
        for file in (folder / name).glob("1.*"):
            file.unlink()
        Image.fromarray(pixels).save(folder / name / "1.png", exif=turned)
    with recorded():
        rows = load(source=folder)
    np.testing.assert_array_equal(rows["mask"][1], np.rot90(pixels, -1))
    np.testing.assert_array_equal(rows["image"][1][..., 0], rows["mask"][1])


def test_hidden_folders_are_no_data_and_of_others_it_is_told_what_reads_the_two(tmp_path: Path) -> None:
    folder = folders(tmp_path)
    (folder / ".ipynb_checkpoints").mkdir()
    assert guess_format(folder) == "masks"
    (folder / "notes").mkdir()
    with recorded() as told:
        assert guess_format(folder) == "image_folder"
    assert told == [f"{folder} has images, masks and 1 more folders; data.format: masks reads the two"]
