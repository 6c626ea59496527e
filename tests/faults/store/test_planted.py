"""The tests beside this one see bugs that are planted in a copy of this code: all with `make chaos`, two here."""

from pathlib import Path

import pytest

from tests.faults.store.faults import ALL
from tests.faults.store.planted import BUGS, is_seen, said_with
from tests.forked import ROOT

QUICK = ("a folder's lock is not taken", "a write that was overtaken is a conflict")


@pytest.mark.parametrize("name", BUGS if ALL else QUICK)
def test_a_planted_bug_is_seen(name: str, tmp_path: Path) -> None:
    code, printed = said_with(BUGS[name], tmp_path / "copy")
    assert is_seen(BUGS[name], code, printed), f"pytest ended with {code}: {printed[-3000:]}"


def test_every_bug_still_fits_and_is_on_the_page() -> None:
    page = (ROOT / "tests" / "faults" / "README.md").read_text()
    for name, bug in BUGS.items():
        assert f"| {name} | " in page
        assert (ROOT / bug.path).read_text().count(bug.right) == 1, name
