"""Locks between processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.infra.errors import LockedError, StoreError
from tidegate.infra.system.locks import is_held, lock

HOLD = """
import sys, time
from pathlib import Path
from tidegate.infra.system.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.lock"
    assert not is_held(path)
    with lock(path):
        assert is_held(path)
        with (
            pytest.raises(LockedError, match=f"run.lock is held by process {os.getpid()}, .* after 0 s"),
            lock(path, 0),
        ):
            pass
    assert not is_held(path)
    with lock(path, 0):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_held(path)
        with pytest.raises(LockedError, match=f"process {holder.pid}"), lock(path, 0.05):
            pass
        holder.send_signal(signal.SIGKILL)
    assert not is_held(path)


def test_the_callers_own_error_when_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="there is a file; expected a folder; move the file"):
        lock(tmp_path / "file" / "a.lock", error=StoreError).__enter__()
