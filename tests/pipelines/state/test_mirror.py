"""A run's files go to the store and come back, whoever else writes there."""

import time
from pathlib import Path

import pytest

from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror

RUN = "some-run"


@pytest.fixture
def here(tmp_path: Path) -> Mirror:
    home = Home(tmp_path / "here")
    home.folder_of(RUN).create()
    (home.spool / RUN).mkdir(parents=True)
    return Mirror(home, RUN)


@pytest.fixture
def there(here: Mirror, tmp_path: Path) -> Mirror:
    """The same run on another machine: another home, the same store."""
    home = Home(tmp_path / "there")
    home.__dict__["store"] = here.home.store
    home.folder_of(RUN).create()
    return Mirror(home, RUN)


def test_files_arrive_where_they_belong(here: Mirror, there: Mirror) -> None:
    names = ["run.json", "logs/driver.log", "logs/train-0-ab.log", "spool/run.jsonl"]
    for name in names:
        here.path(name).write_text(name)
    here.push_all("run.json", "logs/*.log", "spool/*")
    assert sorted(there.pull_all()) == sorted(names)
    assert [there.path(name).read_text() for name in names] == names
    assert there.path("spool/run.jsonl").parent.parent == there.home.spool


def test_a_document_of_another_writer_is_replaced(here: Mirror, there: Mirror) -> None:
    there.write("run.json", b"theirs")
    here.path("run.json").write_text("ours")
    here.push("run.json")
    assert there.pull("run.json") == b"ours"
    there.write("run.json", b"theirs again")
    here.path("run.json").write_text("ours again")
    here.push("run.json")
    assert there.pull("run.json") == b"ours again"


def test_what_has_not_changed_is_not_sent_again(here: Mirror, there: Mirror) -> None:
    here.path("run.json").write_text("once")
    here.push("run.json")
    there.write("run.json", b"changed there")
    here.push("run.json")
    assert there.pull("run.json") == b"changed there"


def test_changes_are_sent_while_they_happen_and_at_the_end(here: Mirror, there: Mirror) -> None:
    with here.pushing("logs/*.log", every_s=0.05):
        here.path("logs/a.log").write_text("first")
        deadline = time.monotonic() + 10
        while there.pull("logs/a.log") is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        here.path("logs/a.log").write_text("first, last")
    assert there.pull("logs/a.log") == b"first, last"


def test_a_deleted_file_is_gone_on_both_sides(here: Mirror, there: Mirror) -> None:
    here.path("errors/a.json").write_text("{}")
    here.push("errors/a.json")
    here.delete("errors/a.json")
    assert not here.path("errors/a.json").exists()
    assert there.pull("errors/a.json") is None
