"""Folders of images and of masks: which belong together, what a pixel is read as, and what is refused."""

from __future__ import annotations

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
