"""A folder is an end of a promotion where it is a home, and is not made into one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.promotion.places import open_end
from tidegate.pipelines.state.home import Home


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize("kind", ["missing", "empty", "project"])
def test_what_is_no_home_stays_as_it_is(tmp_path: Path, option: str, kind: str) -> None:
    home, folder = Home(tmp_path / "home"), tmp_path / "other"
    if kind != "missing":
        folder.mkdir()
    if kind == "project":
        (folder / "runs").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as caught:
        open_end(home, str(folder), option)
    assert str(caught.value).startswith(f"{option} {folder} is no home; expected")
    assert f"--home {folder}`" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_home(tmp_path: Path) -> None:
    home, other = Home(tmp_path / "home"), Home(tmp_path / "other")
    assert open_end(home, str(other.path), "--to").home.path == other.path
