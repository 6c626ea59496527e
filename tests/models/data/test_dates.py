from datetime import UTC, datetime

import numpy as np
import pytest

from tidegate.models.data.dates import date_format, has_time, iso, seconds, seconds_of


def stamp(*parts):
    return datetime(*parts, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (["2025-01-31", "2025-02-01"], "year_first"),
        (["2025/1/3 8:05", "2025/1/4"], "year_first"),
        (["2025-01-31T18:30:00.25Z"], "year_first"),
        (["31.01.2025", "1.2.2025"], "day_first"),
        (["01.02.2025"], "day_first"),
        (["01/02/2025", "31/01/2025"], "day_first"),
        (["01/02/2025", "01/31/2025"], "month_first"),
        (["01/02/2025", "02/03/2025"], ""),
        (["31.01.2025", "2025-01-31"], None),
        (["31/01/2025", "01/31/2025"], None),
        (["31.02.2025"], None),
        (["2025-13-01"], None),
        (["2025-01-31", "unknown"], None),
        (["1.2.3"], None),
        ([], None),
    ],
)
def test_the_way_dates_are_written_is_told_from_all_of_them(values, written):
    assert date_format(values) == written


@pytest.mark.parametrize(
    ("text", "written", "value"),
    [
        ("2025-01-31", "year_first", stamp(2025, 1, 31)),
        ("31.01.2025 18:30", "day_first", stamp(2025, 1, 31, 18, 30)),
        ("2025-01-31T18:30", "day_first", stamp(2025, 1, 31, 18, 30)),  # ISO 8601 is understood everywhere
        ("2025-01-31T18:30:00+01:00", "year_first", stamp(2025, 1, 31, 17, 30)),
        ("01/31/2025", "month_first", stamp(2025, 1, 31)),
        ("31 Jan 2025", "%d %b %Y", stamp(2025, 1, 31)),
        ("20250131", "%Y%m%d", stamp(2025, 1, 31)),
        ("yesterday", "year_first", None),
        ("2025-01-31T25:00", "year_first", None),
    ],
)
def test_a_date_is_read_as_seconds(text, written, value):
    assert seconds_of(text, written) == value


def test_a_column_of_dates_has_nan_where_there_is_none():
    column = np.array(["1969-12-31", None, "no date", "1970-01-02T12:00"], object)
    found = seconds(column, "year_first")
    np.testing.assert_array_equal(found, [-86400, np.nan, np.nan, 86400 + 43200])
    assert has_time(found)
    assert not has_time(found[:3])
    assert [iso(-86400.0), iso(129600.0)] == ["1969-12-31", "1970-01-02T12:00:00"]
