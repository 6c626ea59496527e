"""Probes stay within the contract: categories, ids and images stay what they are, missing is what was missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.data.columns import Columns, rows_of
from tidegate.models.data.sequences import lengths
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.mixtures import mix
from tidegate.models.probing.probe_rows import probe_rows
from tidegate.models.probing.probes import Probes, load_probes, save_probes

KINDS = {"held-out", "mixed", "near", "extreme", "covering", "boundary"}
RANDOM = np.random.default_rng(3)
ROWS = 40


def _strings(values: Any) -> np.ndarray:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _sequences() -> np.ndarray:
    column = RANDOM.normal(size=(ROWS, 5, 2)).astype(np.float32)
    column[np.arange(5)[None] >= RANDOM.integers(1, 6, (ROWS, 1))] = np.nan
    return column


COLUMNS: Columns = {
    "ratio": RANDOM.normal(size=ROWS),
    "age": np.where(np.arange(ROWS) % 5 == 0, np.nan, RANDOM.normal(size=ROWS)),
    "shop": RANDOM.integers(3, 90, ROWS),
    "flag": RANDOM.integers(0, 2, ROWS).astype(np.float64),
    "city": _strings(["Oslo", "Rome", None, "Bern"] * (ROWS // 4)),
    "note": _strings(["a quiet river", "", "the town of the river", "a"] * (ROWS // 4)),
    "user": RANDOM.permutation(ROWS) * 7,
    "image": RANDOM.integers(0, 17, (ROWS, 4, 4)).astype(np.uint8),
    "steps": _sequences(),
    "label": _strings(["no", "yes"] * (ROWS // 2)),
}
FIELDS = (
    Field(name="ratio", kind="numeric", dtype="float64"),
    Field(name="age", kind="numeric", dtype="float64"),
    Field(name="shop", kind="numeric", dtype="int64"),
    Field(name="flag", kind="numeric", dtype="float64"),
    Field(name="city", kind="categorical", dtype="str"),
    Field(name="note", kind="text", dtype="str"),
    Field(name="user", kind="id", dtype="int64"),
    Field(name="image", kind="image", dtype="uint8", shape=(4, 4)),
    Field(name="steps", kind="sequence", dtype="float32", shape=(5, 2)),
)
SCHEMA = Schema(inputs=FIELDS, target=Target(names=("label",), task="classification", classes=("no", "yes")))


@pytest.fixture(scope="module")
def probed() -> tuple[Columns, list[str]]:
    """Probes of a model that decides by the first number."""
    return probe_rows(
        SCHEMA, Transforms.fit(SCHEMA, COLUMNS), COLUMNS, lambda rows: (rows["ratio"] > 0.3).astype(int)
    )


def test_there_are_rows_of_every_kind_and_the_same_ones_again(probed: tuple[Columns, list[str]]) -> None:
    rows, kinds = probed
    assert set(kinds) == KINDS
    assert {name: column.dtype for name, column in rows.items()} == {
        field.name: COLUMNS[field.name].dtype for field in FIELDS
    }
    again, _ = probe_rows(
        SCHEMA, Transforms.fit(SCHEMA, COLUMNS), COLUMNS, lambda rows: (rows["ratio"] > 0.3).astype(int)
    )
    for name, column in rows.items():
        np.testing.assert_array_equal(column, again[name])
    assert rows_of(rows) == len(kinds)


def test_values_stay_within_the_contract(probed: tuple[Columns, list[str]]) -> None:
    rows, kinds = probed
    assert set(rows["city"].tolist()) == {"Oslo", "Rome", "Bern", None, "(never seen)"}
    assert rows["shop"].min() == COLUMNS["shop"].min() and rows["shop"].max() == COLUMNS["shop"].max()
    assert set(rows["user"].tolist()) == set(COLUMNS["user"].tolist())
    assert set(rows["flag"].tolist()) == {0.0, 1.0}
    assert np.isfinite(rows["ratio"]).all() and rows["ratio"].max() > COLUMNS["ratio"].max() + 1
    assert np.isnan(rows["age"]).any()
    near = [kind in ("mixed", "near", "boundary") for kind in kinds]
    assert rows["image"][near].max() <= 16 and rows["image"].max() > 200
    assert lengths(rows["steps"]).min() == 1
    words = {word for text in rows["note"].tolist() for word in text.split()}
    assert {"a", "quiet", "river", "the", "town", "of"} <= words and "" in rows["note"].tolist()


def test_boundary_rows_come_in_pairs_of_two_classes(probed: tuple[Columns, list[str]]) -> None:
    rows, kinds = probed
    at = rows["ratio"][[kind == "boundary" for kind in kinds]]
    assert len(at) == 128 and np.abs(at - 0.3).max() < 1e-3
    assert (at > 0.3).sum() == 64


def test_a_mixture_goes_from_one_row_to_the_other() -> None:
    first, second = (
        {name: column[part] for name, column in COLUMNS.items()} for part in (slice(0, 8), slice(8, 16))
    )
    for share, end in ((0.0, first), (1.0, second)):
        found = mix(FIELDS[:4] + FIELDS[7:], first, second, np.full(8, share))
        for name, column in found.items():
            there = np.isfinite(end[name]) if column.dtype.kind == "f" else np.ones(column.shape, bool)
            np.testing.assert_allclose(column[there], end[name][there], rtol=1e-6)


def test_probes_are_read_as_they_were_written(probed: tuple[Columns, list[str]], tmp_path: Path) -> None:
    rows, kinds = probed
    answers = np.ones((len(kinds), 2), np.float32)
    save_probes(tmp_path / "probes.npz", Probes(rows, kinds, answers, None, 2.0))
    read = load_probes(tmp_path / "probes.npz")
    assert (read.kinds, read.scale, read.before) == (kinds, 2.0, None)
    assert read.columns["note"].tolist() == rows["note"].tolist()
    np.testing.assert_array_equal(read.columns["steps"], rows["steps"])
