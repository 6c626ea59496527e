"""What only S3 has: a server that can be away, full or strange, credentials, uploads in parts."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.bucket_servers import S3Server
from tidegate.infra.errors import ConflictError, CorruptObjectError, StoreError
from tidegate.infra.store.s3_bucket import S3Bucket
from tidegate.infra.store.s3_store import S3Store

PART = 5 << 20  # the least that S3 allows
LARGE = 2 * PART + 12_345


@pytest.fixture
def store(s3: S3Server, tmp_path: Path) -> Iterator[S3Store]:
    store = S3Store(s3.url(tmp_path.name), cache=tmp_path / "cache", part_size=PART)
    yield store
    store.close()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.npz"
    path.write_bytes(os.urandom(LARGE))
    return path


def small(tmp_path: Path, content: bytes = b"weights") -> Path:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    return path


def uploads(bucket: S3Bucket) -> list[Any]:
    found: list[Any] = bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])
    return found


class TestObjects:
    def test_anyone_can_open_them(self, store: S3Store, s3: S3Server, tmp_path: Path) -> None:
        ref = store.put(small(tmp_path))
        kept = s3.folder / tmp_path.name / "objects" / ref.digest[:2] / f"{ref.digest}.keras"
        assert kept.read_bytes() == b"weights"

    def test_a_large_file_goes_in_parts_and_comes_back(self, store: S3Store, large: Path) -> None:
        ref = store.put(large)
        head = store.bucket.head(f"objects/{ref.digest[:2]}/{ref.digest}.npz")
        assert head is not None
        assert head["ETag"].endswith('-3"')  # S3's mark of three parts
        assert store.fetch(ref).read_bytes() == large.read_bytes()
        assert uploads(store.bucket) == []

    def test_a_fetched_file_is_used_again(self, store: S3Store, s3: S3Server, tmp_path: Path) -> None:
        ref = store.put(small(tmp_path))
        first = store.fetch(ref)
        shutil.rmtree(s3.folder / tmp_path.name)
        assert store.fetch(ref) == first
        assert store.has(ref) is False

    def test_damage_in_the_bucket_is_found_and_healed(
        self, store: S3Store, s3: S3Server, tmp_path: Path
    ) -> None:
        ref = store.put(small(tmp_path))
        (kept,) = s3.folder.glob(f"{tmp_path.name}/objects/*/{ref.digest}.keras")
        kept.write_bytes(b"evil!!!")
        with pytest.raises(CorruptObjectError, match=rf"{store.url}/objects/.* is damaged: its sha256 is"):
            store.fetch(ref)
        assert not list((tmp_path / "cache").rglob("*.keras"))
        store.put(small(tmp_path))
        assert store.fetch(ref).read_bytes() == b"weights"

    def test_damage_in_the_cache_is_fetched_anew(self, store: S3Store, tmp_path: Path) -> None:
        ref = store.put(small(tmp_path))
        kept = store.fetch(ref)
        kept.chmod(0o644)
        kept.write_bytes(b"evil!!!")
        assert store.fetch(ref).read_bytes() == b"weights"

    def test_a_file_that_changes_while_it_is_sent_is_refused(self, store: S3Store, large: Path) -> None:
        sending = threading.Event()
        store.bucket.client.meta.events.register("before-call.s3.*", lambda **_: sending.set())

        def grow() -> None:
            sending.wait(60)
            with large.open("ab") as file:
                file.write(b"more")

        writer = threading.Thread(target=grow)
        writer.start()
        with pytest.raises(StoreError, match="changed while it was uploaded"):
            store.put(large)
        writer.join()
        assert list(store.objects()) == []

    def test_more_than_a_page_is_listed(self, store: S3Store, s3: S3Server, tmp_path: Path) -> None:
        folder = s3.folder / tmp_path.name / "docs" / "steps"
        folder.mkdir(parents=True)
        for number in range(1003):
            (folder / f"{number:04}.json").write_text("{}")
        assert store.keys("steps/") == [f"steps/{number:04}.json" for number in range(1003)]


class TestUploads:
    def test_a_failed_one_is_aborted(self, store: S3Store, large: Path) -> None:
        refused: list[str] = []

        def refuse_third(params: dict[str, Any], **_: Any) -> None:
            if str(params["query_string"]["partNumber"]) == "3":
                refused.append(params["url"])
                params["headers"]["Content-MD5"] = "AAAAAAAAAAAAAAAAAAAAAA=="

        store.bucket.client.meta.events.register("before-call.s3.UploadPart", refuse_third)
        with pytest.raises(
            StoreError, match=r"Writing to s3://tidegate/.*: the S3 server .* refused UploadPart"
        ):
            store.put(large)
        assert refused
        assert uploads(store.bucket) == []
        assert list(store.objects()) == []
        store.close()

    def test_a_killed_ones_parts_are_swept(self, store: S3Store, large: Path) -> None:
        code = (
            "import sys, os; from pathlib import Path; from tidegate.infra.store.s3_store import S3Store\n"
            f"store = S3Store(sys.argv[1], part_size={PART})\n"
            "kill = lambda **_: os.kill(os.getpid(), 9)\n"
            "store.bucket.client.meta.events.register('before-call.s3.CompleteMultipartUpload', kill)\n"
            "store.put(Path(sys.argv[2]))\n"
        )
        done = subprocess.run([sys.executable, "-c", code, store.url, str(large)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert len(uploads(store.bucket)) == 1
        assert store.sweep() == []  # this young, it may have a living writer
        (swept,) = store.sweep(0.0)
        assert swept.startswith("objects/")
        assert uploads(store.bucket) == []
        assert list(store.objects()) == []


class Cut:
    """Passes bytes on to a server; cuts the connection instead of the answer to a request it is armed for."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.port = port
        self.cut = b""
        self.passed = 0  # bytes of that answer that arrive
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self.port)) as far:
            back = threading.Thread(target=self._pass, args=(far, near))
            back.start()
            self._pass(near, far)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.cut and data.startswith(self.cut):
                    target.sendall(data[: self.passed])
                    self.cut, self.count = b"", self.count + 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()


def test_a_write_whose_answer_is_lost_is_done_once_and_told_so(s3: S3Server, tmp_path: Path) -> None:
    cut = Cut(s3.port)
    store = S3Store(s3.url(tmp_path.name), endpoint=cut.url, cache=tmp_path / "c")
    first = store.write("a", b"1", None)
    cut.cut = b"HTTP/1.1 200"
    second = store.write("a", b"2", first)  # refused with 412 when it is sent again
    assert cut.count == 1
    assert store.read("a") == (b"2", second)
    with pytest.raises(ConflictError):
        store.write("a", b"3", first)
    store.close()
    cut.close()


@pytest.mark.parametrize("size", [100_000, LARGE])
def test_what_breaks_off_while_it_is_read_is_read_again(s3: S3Server, size: int, tmp_path: Path) -> None:
    cut = Cut(s3.port)
    store = S3Store(s3.url(tmp_path.name), endpoint=cut.url, cache=tmp_path / "c", part_size=PART)
    content = os.urandom(size)
    (tmp_path / "x.npz").write_bytes(content)
    ref = store.put(tmp_path / "x.npz")
    etag = store.write("a", content, None)
    cut.cut, cut.passed = b"HTTP/1.1 200", 1000
    assert store.read("a") == (content, etag)
    cut.cut = b"HTTP/1.1 206"  # the object comes in ranges
    assert store.fetch(ref).read_bytes() == content
    assert cut.count == 2
    store.close()
    cut.close()


def test_the_library_of_a_cloud_is_imported_for_its_buckets_only() -> None:
    code = (
        "import sys, tidegate.pipelines.cli, tidegate.infra.store; tidegate.infra.store.open_store('folder'); "
        "sys.exit(bool({'boto3', 'botocore', 'obstore'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
