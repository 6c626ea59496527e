"""A run's files as documents of the store, so that any machine can follow and resume it.

Every document has one writer at a time: a step's worker writes the step's own, the driver all others. The record has
a prefix of its own, so that listing the runs reads nothing else.
"""

import contextlib
import fnmatch
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tidegate.infra.errors import StoreError
from tidegate.infra.system.files import write_atomic
from tidegate.pipelines.state.documents import replace
from tidegate.pipelines.state.home import Home, RunRecord

RECORD, END = "run.json", "end.json"
DRIVER_LOG = "logs/driver.log"
PUSH_INTERVAL_S = 2.0
SHARE, LONGEST_S = 20, 10.0


class Mirror:
    """The files of one run: those of its folder, and those of its spool under `spool/`.

    Args:
        home: a target's home.
        run: the run's id.
    """

    def __init__(self, home: Home, run: str) -> None:
        self.home = home
        self.run = run
        self._pushed: dict[str, tuple[int, int]] = {}
        self._etags: dict[str, str | None] = {}
        self._lock = threading.RLock()  # a signal may come while we hold it

    def key(self, name: str) -> str:
        """The document of a file."""
        return f"records/{self.run}.json" if name == RECORD else f"runs/{self.run}/{name}"

    def path(self, name: str) -> Path:
        """The file of a document."""
        if name.startswith("spool/"):
            return self.home.spool / self.run / name.removeprefix("spool/")
        return self.home.folder_of(self.run).path / name

    def pull(self, name: str) -> bytes | None:
        """Copy one file from the store to here; None when the store has none."""
        found = self.home.store.read(self.key(name))
        if found is None:
            return None
        content, self._etags[name] = found
        path = self.path(name)
        if not path.exists() or path.read_bytes() != content:
            write_atomic(path, content)
        return content

    def pull_all(self, pattern: str = "*") -> list[str]:
        """Copy every file whose name matches from the store to here; return the names."""
        prefix = f"runs/{self.run}/"
        names = [key.removeprefix(prefix) for key in self.home.store.keys(prefix)]
        names = [name for name in [RECORD, *names] if fnmatch.fnmatch(name, pattern)]
        _at_once(self.pull, names)
        return names

    def push(self, name: str) -> None:
        """Copy one file to the store, if it has changed since the last push."""
        path = self.path(name)
        with self._lock, contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            if self._pushed.get(name) != stamp:
                self.write(name, path.read_bytes())
                self._pushed[name] = stamp

    def push_all(self, *patterns: str) -> None:
        """Copy the files whose names match to the store."""
        for pattern in patterns:
            folder = self.path(pattern).parent
            inside = pattern.rpartition("/")[0]
            for path in sorted(folder.glob(Path(pattern).name)):
                if path.is_file() and not path.name.startswith("."):
                    self.push(f"{inside}/{path.name}" if inside else path.name)

    def write(self, name: str, content: bytes) -> None:
        """Write a document, whatever its content was before."""
        etag = self._etags.get(name)
        self._etags[name] = replace(self.home.store, self.key(name), content, etag)

    def delete(self, name: str) -> None:
        """Remove a document and the file."""
        self.home.store.delete(self.key(name))
        self._etags.pop(name, None)
        self._pushed.pop(name, None)
        self.path(name).unlink(missing_ok=True)

    def forget(self, *names: str) -> None:
        """Keep nothing of these documents in memory: no one writes them from here any more."""
        for name in names:
            self._etags.pop(name, None)
            self._pushed.pop(name, None)

    @contextlib.contextmanager
    def pushing(self, *patterns: str, every_s: float = PUSH_INTERVAL_S) -> Iterator[None]:
        """Push changes every few seconds, for a twentieth of the time at most, and once more at the end."""
        stop = threading.Event()

        def follow() -> None:
            pause_s = every_s
            while not stop.wait(pause_s):
                began = time.thread_time()
                with contextlib.suppress(StoreError):  # out of reach; the next push will do
                    self.push_all(*patterns)
                pause_s = max(every_s, min(LONGEST_S, SHARE * (time.thread_time() - began)))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.push_all(*patterns)


def refresh(home: Home, run: str | None = None, pattern: str = "") -> None:
    """Copy the runs of a cluster from its store to here; those of the local target are here already.

    Args:
        home: the target's home.
        run: one run; None: the records of all.
        pattern: which files of that run, in addition to its record.
    """
    if home.target is None:
        return
    if run is None:
        _pull_records(home)
    elif "/" not in run:
        mirror = Mirror(home, run)
        if mirror.pull(RECORD) is None:
            _pull_records(home)  # so that the error can suggest the nearest name
        elif pattern:
            mirror.pull_all(pattern)


def known_run(home: Home, run: str) -> RunRecord | None:
    """The record of a run, or None for a new one; of a cluster's runs the store alone knows."""
    folder = home.folder_of(run)
    if home.target is not None and Mirror(home, run).pull(RECORD) is None:
        return None  # or deleted by another machine: a copy that is still here does not count
    return folder.read() if (folder.path / RECORD).is_file() else None


def _pull_records(home: Home) -> None:
    runs = {Path(key).stem for key in home.store.keys("records/")}
    _at_once(lambda run: Mirror(home, run).pull(RECORD), runs)
    for path in home.runs_path.glob("*/run.json"):
        if path.parent.name not in runs:  # removed by another machine's gc
            path.unlink()


def _at_once(pull: Callable[[str], object], names: Collection[str]) -> None:
    """Pull several names at a time, which wait for the store."""
    from concurrent.futures import ThreadPoolExecutor  # a run on this machine does without

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pull, names))
