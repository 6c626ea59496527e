"""Folders of images with boxes: what is read, how images of any size become rows, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tidegate.models.data.box_column import parse_boxes
from tidegate.models.data.columns import Columns, concat
from tidegate.models.data.data_warnings import recorded
from tidegate.models.datasets import load, load_dataset
from tidegate.models.errors import FormatError, SchemaError, SourceError
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.readers.boxes import read

HEADER = "image_path,xmin,ymin,xmax,ymax,label\n"


def picture(path: Path, width: int = 20, height: int = 10, mode: str = "RGB") -> np.ndarray:
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(width).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def folder(tmp_path: Path, lines: str, header: str = HEADER) -> Path:
    (tmp_path / "boxes.csv").write_text(header + lines)
    return tmp_path


def rows(path: Path, tile: int | None = None) -> Columns:
    return concat(list(read(path, None, tile)))


def boxes(columns: Columns) -> list[list[Any]]:
    return [json.loads(cell) for cell in columns["boxes"]]


def test_a_line_a_box_and_an_image_alone_has_none(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    picture(tmp_path / "unnamed.png", 99, 99)
    found = rows(folder(tmp_path, "a.png,1,2,5,6.5,Tree\nb.png,,,,,\na.png,3,3,9,9,Bird\n"))
    np.testing.assert_array_equal(found["image"], [first, second])
    assert boxes(found) == [
        [{"label": "Tree", "box": [1, 2, 5, 6.5]}, {"label": "Bird", "box": [3, 3, 9, 9]}],
        [],
    ]


def test_columns_may_have_any_order_and_gray_images_stay_gray(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", mode="L")
    found = rows(folder(tmp_path, "Tree,0.5,a.png,1,2,5,6\n", "label,score,image_path,xmin,ymin,xmax,ymax\n"))
    np.testing.assert_array_equal(found["image"], [pixels])
    assert boxes(found) == [[{"label": "Tree", "box": [1, 2, 5, 6]}]]


def coco(path: Path, **change: Any) -> Path:
    document = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "sub/b.png"}],
        "categories": [{"id": 1, "name": "Tree"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 4, 5]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        ],
    }
    (path / "sub").mkdir(exist_ok=True)
    picture(path / "a.png")
    picture(path / "sub" / "b.png")
    (path / "instances.json").write_text(json.dumps(document | change))
    return path


def test_coco_s_format(tmp_path: Path) -> None:
    assert boxes(rows(coco(tmp_path))) == [[{"label": "Tree", "box": [1, 2, 5, 7]}], []]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"annotations": [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 4, 5]}]},
            "COCO format: KeyError 9",
        ),
        (
            {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 4]}]},
            "bbox is .*expected left, top",
        ),
        (
            {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, -4, 5]}]},
            "annotation 0 .*has no area",
        ),
        ({"images": None}, "is not in COCO format"),
        ({"images": [], "annotations": []}, "names no image"),
    ],
)
def test_what_is_not_coco_s_format_is_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        rows(coco(tmp_path, **change))


def test_images_of_several_sizes_become_the_usual_one_with_their_boxes(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    picture(tmp_path / "large.png", 40, 30)
    with recorded() as told:
        found = rows(folder(tmp_path, "large.png,4,3,40,30,Tree\na.png,1,1,2,2,Tree\nb.png,1,1,2,2,Tree\n"))
    assert found["image"].shape == (3, 10, 20, 3)
    assert boxes(found)[0] == [{"label": "Tree", "box": [2, 1, 20, 10]}]
    assert told == ["1 of 3 images are resized with their boxes to 20x10, the most common size"]


def test_a_box_partly_outside_is_cut_and_that_is_said(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "a.png")
    with recorded() as told:
        found = rows(folder(tmp_path, "a.png,-3,5,8,12,Tree\na.png,1,1,2,2,Tree\n"))
    assert boxes(found)[0][0]["box"] == [0, 5, 8, 10]
    assert told == ["1 boxes were cut at the edge of their image"]


def test_tiles_have_every_pixel_once_and_every_box_once(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 50, 36)
    lines = "a.png,2,2,10,10,in\na.png,10,2,20,10,right\na.png,14,14,18,18,middle\na.png,44,30,50,36,last\n"
    found = rows(folder(tmp_path, lines), 16)
    assert found["image"].shape == (12, 16, 16, 3)
    whole = found["image"].reshape(3, 4, 16, 16, 3).swapaxes(1, 2).reshape(48, 64, 3)
    np.testing.assert_array_equal(whole[:36, :50], pixels)
    assert not whole[36:].any() and not whole[:, 50:].any()
    held = {place: cell for place, cell in enumerate(boxes(found)) if cell}
    assert held == {
        0: [{"label": "in", "box": [2, 2, 10, 10]}, {"label": "right", "box": [10, 2, 16, 10]}],
        5: [{"label": "middle", "box": [0, 0, 2, 2]}],
        10: [{"label": "last", "box": [12, 0, 16, 4]}],
    }
    assert sum(map(len, boxes(found))) == 4


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a.png,5,5,5,9,Tree\n", "line 2: the box 5, 5, 5, 9 has no area"),
        ("a.png,1,1,2,2,Tree\na.png,5,9,8,3,Tree\n", "line 3: the box 5, 9, 8, 3 has no area"),
        ("a.png,20,5,30,9,Tree\n", "line 2: the box 20, 5, 30, 9 lies outside of its image of 20x10 pixels"),
        ("b.png,1,1,2,2,Tree\n", "line 2: image 'b.png' is not in .*did you mean 'a.png'"),
        ("../a.png,1,1,2,2,Tree\n", "line 2: image '../a.png' is not in"),
        (",1,1,2,2,Tree\n", "line 2: image '' is not in"),
        ("a.png,1,1,2,2,\n", "line 2: a box of 'a.png' has no label"),
        ("a.png,1,,2,2,Tree\n", "line 2: ymin is ''; expected a number of pixels"),
        ("a.png,1,nan,2,2,Tree\n", "line 2: ymin is 'nan'"),
        ("a.png,1,1\n", "line 2: "),
        ('a.png,"1,1,2,2,Tree\n', "line 1: unexpected end of data; expected cells separated by commas"),
        ("", "names no image"),
    ],
)
def test_what_is_wrong_in_a_csv_is_told_with_its_line(tmp_path: Path, lines: str, said: str) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(FormatError, match=said):
        rows(folder(tmp_path, lines))


def test_a_corrupt_image_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 64, 64)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with pytest.raises(FormatError, match=r"image .*a\.png cannot be read"):
        rows(folder(tmp_path, "a.png,1,1,2,2,Tree\n"))


def test_a_folder_without_one_file_of_boxes_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(FormatError, match="are: none; expected exactly one"):
        rows(tmp_path)
    folder(tmp_path, "a.png,1,1,2,2,Tree\n", "file,xmin,ymin,xmax,ymax,label\n")
    with pytest.raises(FormatError, match="without image_path; expected image_path,xmin"):
        rows(tmp_path)
    (tmp_path / "more.json").write_text("{}")
    with pytest.raises(FormatError, match=r"are: boxes\.csv, more\.json; expected exactly one"):
        rows(tmp_path)
    with pytest.raises(SourceError, match="is a file; expected a folder with images"):
        rows(tmp_path / "boxes.csv")
    with pytest.raises(SchemaError, match="'picture' is not a column"):
        list(read(tmp_path, ["picture"]))


def test_it_is_found_by_its_content_and_alone_has_tiles(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 32, 32)
    folder(tmp_path, "a.png,1,1,9,9,Tree\n")
    assert set(load(source=tmp_path)) == {"image", "boxes"}
    assert load(source=tmp_path, tile=16)["image"].shape == (4, 16, 16, 3)
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(
        SourceError, match=r"data\.tile is 16 and data\.format is csv; expected images with boxes"
    ):
        load(source=tmp_path / "t.csv", tile=16)
    with pytest.raises(SourceError, match=r"data\.tile is 16 and data\.dataset is digits"):
        load_dataset("digits", 16)


def test_the_trees_have_all_their_boxes_and_no_pixel_twice() -> None:
    columns, test = load_dataset("trees")
    assert columns["image"].shape == (206, 200, 200, 3) and test == 0
    cells = parse_boxes("boxes", columns["boxes"], (200, 200))
    assert sum(len(cell.labels) for cell in cells) == 951
    assert {label for cell in cells for label in cell.labels} == {"Tree"}
    filled = [image.tobytes() for image in columns["image"] if image.any(axis=2).mean() > 0.5]
    assert len(set(filled)) == len(filled)
    prepared = prepare(dataset="trees", tile=100)
    assert prepared.schema.target.task == "detection" and prepared.schema.inputs[0].shape == (100, 100, 3)
    counted = prepared.summary["boxes"]
    assert sum(counted[split]["Tree"] for split in ("train", "validation", "test")) == 951


def turned(path: Path) -> None:
    """A picture of 20 x 10 that is stored on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 20), (9, 9, 9)).save(path, exif=exif)


def test_boxes_are_those_of_the_upright_image(tmp_path: Path) -> None:
    turned(tmp_path / "a.png")
    with recorded() as told:
        found = rows(folder(tmp_path, "a.png,12,2,20,10,Tree\n"))
    assert found["image"].shape == (1, 10, 20, 3)
    assert boxes(found)[0] == [{"label": "Tree", "box": [12, 2, 20, 10]}]
    (said,) = told
    assert "1 of 1 images: turned upright" in said
    assert said.endswith("their boxes are those of the upright image")
    with recorded(), pytest.raises(FormatError, match=r"; its EXIF orientation turns the image upright"):
        rows(folder(tmp_path, "a.png,2,12,10,20,Tree\n"))


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ((20, 10), ""),
        ((10, 20), "is 20x10 upright.*its boxes are for 10x20"),
        ((40, 20), "1 of 1 images have another"),
    ],
)
def test_the_size_that_coco_states_is_compared(stated: tuple[int, int], words: str, tmp_path: Path) -> None:
    image = {"id": 7, "file_name": "a.png", "width": stated[0], "height": stated[1]}
    source = coco(tmp_path, images=[image])
    turned(tmp_path / "a.png")
    with recorded() as told:
        if "upright" in words:
            with pytest.raises(FormatError, match=words):
                rows(source)
            return
        rows(source)
    assert words in "".join(told)
    assert ("another size" in "".join(told)) == bool(words)
