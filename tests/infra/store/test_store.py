"""What only the folder store has: bytes on this disk, kills, a full disk."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidegate.infra.errors import CorruptObjectError, StoreError
from tidegate.infra.store import FolderStore, open_store

PUT_FOREVER = """
import sys
from pathlib import Path
from tidegate.infra.store import FolderStore
store = FolderStore(Path(sys.argv[1]))
print("go", flush=True)
while True:
    store.put(Path(sys.argv[2]), "model.keras")
"""


def test_damage_is_found_and_healed_by_putting_again(tmp_path: Path) -> None:
    source = tmp_path / "m.keras"
    source.write_bytes(b"good")
    ref = FolderStore(tmp_path / "s").put(source)
    kept = FolderStore(tmp_path / "s").fetch(ref)
    kept.chmod(0o644)
    kept.write_bytes(b"evil")
    store = FolderStore(tmp_path / "s")
    with pytest.raises(CorruptObjectError, match=r"is damaged: .* \(m\.keras\); delete that file"):
        store.fetch(ref)
    assert store.put(source) == ref
    assert store.fetch(ref).read_bytes() == b"good"


def test_damage_after_the_first_fetch_is_found(tmp_path: Path) -> None:
    source = tmp_path / "m.keras"
    source.write_bytes(b"good")
    store = FolderStore(tmp_path / "s")
    ref = store.put(source)
    kept = store.fetch(ref)
    kept.chmod(0o644)
    kept.write_bytes(b"evil")
    with pytest.raises(CorruptObjectError):
        store.fetch(ref)


def test_a_kill_leaves_no_half_object(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    root = tmp_path / "store"
    for moment in (0.0, 0.003, 0.011):
        argv = [sys.executable, "-c", PUT_FOREVER, str(root), str(source)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(moment)
            writer.send_signal(signal.SIGKILL)
        store = FolderStore(root)
        assert all(found.size == 3_000_000 for found in store.objects())
        assert store.fetch(store.put(source)).read_bytes() == source.read_bytes()
        assert store.sweep() == []  # a temporary file this young may have a living writer
        assert all(".tmp-" in name for name in store.sweep(0.0))
        assert not list(root.rglob(".tmp-*"))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full], check=False, capture_output=True
    )
    if mounted.returncode:
        return  # mounting takes root; everything else here does not
    try:
        source = tmp_path / "big.npz"
        source.write_bytes(b"0" * 2_000_000)
        with pytest.raises(StoreError, match=r"the disk is full \(.* MB free\); free some space, or choose"):
            FolderStore(full / "store").put(source)
        assert not list((full / "store").rglob(".tmp-*"))
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="there is a file; expected a folder; move the file"):
        FolderStore(tmp_path / "store").write("a", b"", None)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreError, match=r"store is 'ftp://x'; expected a folder or one of file://"):
        open_store("ftp://x")


def test_a_path_with_spaces_by_uri(tmp_path: Path) -> None:
    root = tmp_path / "my store"
    open_store(root.as_uri()).write("a", b"1", None)
    assert FolderStore(root).keys() == ["a"]
