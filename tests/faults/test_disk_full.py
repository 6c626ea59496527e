"""The home's disk fills up in a run; once there is room again, the same submit ends it, and nothing is lost."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import Cli
from .conftest import QUICK, check_mlflow, check_store, predict, row_of, settles

SIZE_KB = 64 * 1024
# KiB that are left: an eighth of what a first run of digits writes, half of it with MLflow's database in the middle of
# its migrations, and nearly all.
ROOMS = [
    pytest.param(400, marks=pytest.mark.slow),
    pytest.param(1500, marks=pytest.mark.slow),
    2600,
    pytest.param(3200, marks=pytest.mark.slow),
    pytest.param(6000, marks=pytest.mark.slow),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own; whatever runs in its home is stopped, and nothing may be left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tidegate-test", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield folder
        cli = Cli(folder / "home")
        cli("down")
        assert cli.processes() == []
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("room", ROOMS)
def test_a_full_disk_loses_nothing(disk: Path, room: int) -> None:
    filler = disk / "filler"
    filler.write_bytes(bytes((SIZE_KB - room) * 1024))
    cli, argv = Cli(disk / "home"), ("submit", "digits", *QUICK)
    full = cli(*argv)
    assert full.code == 0 or (full.code == 1 and "free some space" in full.stderr), full.stderr
    assert "Traceback" not in full.stderr
    filler.unlink()
    answer = cli.ok(*argv)
    assert answer["status"] == "done"
    check_store(cli)
    check_mlflow(cli, answer["run"])
    settles(cli)
    assert predict(answer["endpoint"], row_of(answer))["predictions"]
