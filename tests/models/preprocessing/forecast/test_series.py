"""Rows to forecast: what a window holds, what is left out, how the parts are kept apart, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import DataError
from tidegate.models.preprocessing.forecast.steps import steps_of
from tidegate.models.preprocessing.prepare import Prepared, prepare

FORECAST = {"past": 3, "horizon": 2, "known": ["open"], "season": 2}
SPLIT = {"validation": 0.2, "test": 0.2, "time": "day"}
DAYS = [str(np.datetime64("2024-01-30") + day) for day in range(40)]


def lines(days: list[str] = DAYS, **cells: str) -> list[str]:
    """A row a day: sold is 10 times its number, open its number, rain a third of it; `cells` has others by day."""
    at = {day: DAYS.index(day) for day in days if day in DAYS}
    usual = {day: f"{10 * place},{place},{place / 3:.2f}" for day, place in at.items()}
    return [
        "day,sold,open,rain",
        *(f"{day},{cells.get('d' + day[5:7] + day[8:], usual.get(day, '1,1,1'))}" for day in days),
    ]


def prepared(folder: Path, rows: list[str], **asked: Any) -> Prepared:
    (folder / "shop.csv").write_text("\n".join(rows) + "\n")
    stated = {"target": ["sold"], "split": SPLIT, "forecast": FORECAST} | asked
    return prepare(source=folder / "shop.csv", **stated)


def test_a_row_holds_what_was_what_is_known_and_what_came(tmp_path: Path) -> None:
    found = prepared(tmp_path, lines())
    assert [(one.name, one.shape) for one in found.schema.inputs] == [
        ("sold_past", (3,)),
        ("open", (5,)),
        ("rain", (3,)),
    ]
    for part in found.splits.values():
        for past, known, rain, ahead in zip(
            *(part[name] for name in ("sold_past", "open", "rain", "sold")), strict=True
        ):
            first = past[0]
            assert past.tolist() == [first, first + 10, first + 20] and ahead.tolist() == [
                first + 30,
                first + 40,
            ]
            np.testing.assert_allclose(known * 10, first + 10 * np.arange(5))
            np.testing.assert_allclose(rain * 30, past, atol=0.2)
    inputs = found.transforms.apply(found.splits["test"])
    np.testing.assert_array_equal(inputs["sold_past"], found.splits["test"]["sold_past"])  # as it is
    assert abs(found.transforms.apply(found.splits["train"])["open"].mean()) < 1e-5  # and others are scaled
    target = found.schema.target
    assert (target.task, target.shape, target.quantiles) == ("forecasting", (2,), (0.1, 0.5, 0.9))
    assert target.naive_error == 20 and target.units == 6


def test_nothing_that_is_forecast_in_one_part_is_in_an_earlier_one(tmp_path: Path) -> None:
    splits = prepared(tmp_path, lines()).splits
    values = {name: set(part["sold"].ravel().tolist()) for name, part in splits.items()}
    assert max(values["train"]) < min(values["validation"]) and max(values["validation"]) < min(
        values["test"]
    )
    seen = set().union(*(part["sold"].ravel().tolist() for part in splits.values()))
    assert seen == {
        10.0 * day for day in range(3, 40)
    }  # and none is lost: a window later than the last of a part has it


def test_held_out_rows_are_forecast_from_every_so_many_moments(tmp_path: Path) -> None:
    some, all_ = (prepared(tmp_path, lines(), forecast={**FORECAST, "every": every}) for every in (2, 1))
    first = {name: np.sort(part["sold"][:, 0]) for name, part in some.splits.items()}
    assert (np.diff(first["test"]) == 20).all() and (np.diff(first["train"]) == 10).all()
    assert len(some.splits["test"]["sold"]) == -(-len(all_.splits["test"]["sold"]) // 2)


def test_windows_over_a_gap_or_an_empty_cell_are_left_out_and_told(tmp_path: Path) -> None:
    without = [day for day in DAYS if day != "2024-02-15"]
    found = prepared(tmp_path, lines(without, d0220="200,,1"))
    assert any("windows lack a value, because 1 of 40 steps" in text for text in found.summary["warnings"])
    gap, empty = DAYS.index("2024-02-15"), DAYS.index("2024-02-20")
    for part in found.splits.values():
        for first in part["sold_past"][:, 0] / 10:
            assert not {gap, empty} & set(range(int(first), int(first) + 5))


def test_rows_may_stand_in_any_order_where_a_column_has_their_times(tmp_path: Path) -> None:
    rows = lines()
    mixed = [rows[0], *np.random.default_rng(0).permutation(rows[1:]).tolist()]
    assert prepared(tmp_path, rows).fingerprint == prepared(tmp_path, mixed).fingerprint


@pytest.mark.parametrize(
    ("times", "steps"),
    [
        (["2024-01-31", "2024-02-29", "2024-03-31"], None),
        (["2024-01-01", "2024-02-01", "2024-04-01"], [0, 1, 3]),
        (["2023-10-15", "2024-01-15", "2024-07-15"], [0, 1, 3]),
        (["2022-01-01", "2023-01-01", "2024-01-01"], [0, 1, 2]),
        (["2024-01-02", "2024-01-03", "2024-01-01", "2024-01-05"], [1, 2, 0, 4]),
        (["2024-01-01 23:00", "2024-01-02 00:00", "2024-01-02 02:00"], [0, 1, 3]),
        ([0.5, 1.0, 2.0], [0, 1, 3]),
    ],
)
def test_steps_are_those_of_the_calendar(times: list[Any], steps: list[int] | None) -> None:
    column = np.array(times, object if isinstance(times[0], str) else float)
    if steps is None:
        with pytest.raises(DataError, match="is no whole number of such steps"):
            steps_of({"t": column}, "t")
    else:
        assert steps_of({"t": column}, "t").tolist() == steps


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"target": ["sold", "rain"]}, "expected one column, the series to forecast"),
        ({"target": ["solt"]}, "did you mean 'sold'"),
        ({"forecast": FORECAST | {"known": ["opem"]}}, "data.forecast.known 'opem'.*did you mean 'open'"),
        ({"forecast": FORECAST | {"past": 39}}, "the series has 40 steps, and a row to forecast holds 41"),
        ({"inputs": [{"name": "sold"}]}, "its last values are the input sold_past in any case"),
        ({"inputs": [{"name": "open", "kind": "categorical"}]}, "states kind categorical"),
        ({"inputs": [{"name": "open", "missing": "own"}]}, "states missing"),
        ({"split": {"group": "rain", "test": 0.2}}, "divides by a group"),
        ({"split": SPLIT | {"time": "dya"}}, "data.split.time 'dya'.*did you mean 'day'"),
        (
            {"split": SPLIT | {"test": 0.03, "validation": 0.02}},
            "each is less than a horizon of 2 steps before",
        ),
    ],
)
def test_what_does_not_fit_a_forecast_is_refused(asked: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, lines(), **asked)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (lines([*DAYS, "2024-02-01"]), "is 2024-02-01 in row 3 and in row 41; expected each time once"),
        (lines(d0203="1,1,wet"), "'rain'"),
        (
            [line.replace(",", ",a", 1) for line in lines()],
            "column 'sold' holds 'a0', and is the series to forecast",
        ),
    ],
)
def test_rows_that_are_no_series_are_refused(rows: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, [rows[0].replace(",a", ","), *rows[1:]])
