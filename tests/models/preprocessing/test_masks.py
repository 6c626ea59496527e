"""Masks: which class a pixel is, by its place, by its name, or by what it holds; and pixels without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.data_warnings import recorded
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.target.masks import MaskOptions, mask_places, mask_target, tell_about_masks

PIXELS = np.array([[[0, 255], [255, 0]], [[0, 7], [0, 0]]], np.uint8)


def prepared(folder: Path, **options: Any) -> Prepared:
    random = np.random.default_rng(3)
    masks = random.choice(np.array([0, 255, 7], np.uint8), (40, 4, 6))
    np.savez(folder / "d.npz", image=random.integers(0, 256, (40, 4, 6)).astype(np.uint8), mask=masks)
    return prepare(source=folder / "d.npz", target=[{"name": "mask", "kind": "mask", **options}])


def test_a_pixel_of_the_ignored_value_has_no_class() -> None:
    target = mask_target("m", PIXELS, MaskOptions.of({"classes": {"0": "sky", "255": "tree"}, "ignore": 7}))
    assert (target.classes, target.values, target.ignored) == (("sky", "tree"), (0, 255), 7)
    np.testing.assert_array_equal(mask_places(target, PIXELS), [[[0, 1], [1, 0]], [[0, -1], [0, 0]]])


def test_classes_that_are_not_named_are_the_values_that_occur(tmp_path: Path) -> None:
    whole = prepared(tmp_path)
    target, test = whole.schema.target, whole.splits["test"]
    assert target.classes == target.values == (0, 7, 255)
    np.testing.assert_array_equal(np.array([0, 7, 255])[encode_target(whole.schema, test)], test["mask"])
    counts = whole.summary["outputs"]["mask"]["pixels"]
    assert sum(sum(part.values()) for part in counts.values()) == 40 * 4 * 6
    assert counts["test"]["255"] == (test["mask"] == 255).sum()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"classes": ["sky", "tree"]},
            r"hold 7; expected one of 0, 1; name it in classes, or leave it out with ig",
        ),
        ({"classes": {0: "sky", 255: "tree"}}, r"hold 7; expected one of 0, 255; .* with ignore: 7"),
        ({"classes": {0: "a", 7: "b"}, "ignore": 7}, "ignores 7, which is the class 'b'"),
    ],
)
def test_what_is_no_class_is_refused_by_row_and_value(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SchemaError, match=said):
        prepared(tmp_path, **options)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.zeros(4), r"kind mask and holds rows of float64 \(\); expected an array of whole numbers"),
        (np.array(["a"], object), "kind mask and holds texts"),
        (np.array([[[0, 2**31]]]), r"has the value 2147483648; expected whole numbers from -2147483648 to"),
        (np.zeros((4, 2, 2), np.uint8), r"has 1 classes \(0\); expected 2 to 256"),
    ],
)
def test_what_is_no_mask_is_refused(column: np.ndarray, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        mask_target("m", column, MaskOptions())


def test_a_later_value_is_refused_and_a_class_that_is_nowhere_is_told() -> None:
    options = MaskOptions({0: "sky", 255: "tree", 9: "sea"}, 7)
    with recorded() as told:
        target = mask_target("m", PIXELS, options)
    assert told == ["target 'm': no pixel of any row is sea, so it is never learned; check the masks"]
    with pytest.raises(SchemaError, match=r"target 'm', row 1 \(counted from 0\): 1 pixels hold 3"):
        mask_places(target, np.array([[[0, 0]], [[0, 3]]], np.uint8))


def test_many_pixels_are_read_part_by_part_and_their_rows_counted_from_the_first() -> None:
    masks = np.zeros((5, 1024, 1024), np.uint8)
    masks[:, :, 512:] = 1
    target = mask_target("m", masks, MaskOptions())
    np.testing.assert_array_equal(mask_places(target, masks), masks)
    masks[4, 3, 2] = 9
    with pytest.raises(SchemaError, match=r"row 4 \(counted from 0\): 1 pixels hold 9"):
        mask_places(target, masks)


def test_classes_that_a_part_lacks_are_told() -> None:
    target = Target(
        names=("m",), task="segmentation", classes=("a", "b"), shape=(1, 2), values=(0, 1), ignored=2
    )
    parts = {"train": [[[0, 0]], [[2, 2]]], "validation": [[[0, 1]]], "test": [[[1, 1]]]}
    with recorded() as told:
        tell_about_masks(target, {name: {"m": np.array(part, np.uint8)} for name, part in parts.items()})
    assert told == [
        "no pixel of the train rows is b, so it is not learned; add rows",
        "no pixel of the test rows is a, so the test metrics count only what is wrongly taken for it; add rows",
        "1 rows have only pixels to ignore, so nothing is learned from them; check target 'm'",
    ]
