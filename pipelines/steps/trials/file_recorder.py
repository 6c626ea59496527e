"""Sees which files of the user's their model file reads: modules that it imports, and files that its code opens.

Python tells of every file that it opens (an audit event, PEP 578). Of these count the ones that the user's own code
opens, directly or through a library. A file that a library opens by itself in C (h5py, tf.io) is not seen.
"""

import contextlib
import inspect
import os
import site
import stat
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tidegate.pipelines import errors
from tidegate.pipelines.state.files_read import changed_while_read, digest_of_file
from tidegate.serving.bundle.import_closure import ROOT

SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr")
STEPS = {str(Path(__file__).with_name("trial.py")), str(Path(__file__).parents[1] / "train.py")}
WRITES = os.O_WRONLY | os.O_RDWR
Stamp = tuple[int, int, int]


class FileRecorder:
    """Records what the user's code reads while it is `watching`.

    Args:
        code: the folder of the user's code that is run, and the one that it is a copy of, under whose name its files
            are recorded; None: there is none, and nothing is recorded.
        own: a folder of this process's own files, which are not recorded.
    """

    def __init__(self, code: tuple[Path, Path] | None, own: Path) -> None:
        self._code = f"{os.path.realpath(code[0])}{os.sep}" if code else None
        self._project = f"{code[1]}{os.sep}" if code else ""
        self._others = tuple(
            name for folder in [str(own), *SYSTEM, *_installed()] for name in _prefixes(folder)
        )
        self._before = set(sys.modules)
        self._seen: dict[str, Stamp] = {}
        self._digests: dict[str, str] = {}
        self._written: set[str] = set()
        self._active = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Record until its end. Python keeps an audit hook for the life of the process, so it only goes silent."""
        if self._code is not None:
            sys.addaudithook(self._on_event)
        self._active = self._code is not None
        try:
            yield
        finally:
            self._active = False

    def files(self) -> dict[str, str]:
        """Path -> SHA-256 of each file of the user's that was read so far.

        Raises:
            PipelineError: one was changed since it was read.
        """
        for name in (sys.modules.keys() - self._before) if self._code else ():
            path = os.path.realpath(getattr(sys.modules[name], "__file__", None) or os.devnull)
            if self._is_users(path):
                self._note(path)
        for path, stamp in self._seen.items():
            if path not in self._written and _stamp(path) != stamp:
                raise changed_while_read(path)
        kept = [path for path in self._seen if path not in self._written]
        for path in kept:
            self._digests.setdefault(path, digest_of_file(Path(path)))
        return {self._name(path): self._digests[path] for path in sorted(kept)}

    def _name(self, path: str) -> str:
        """A file's path; of a file of the copy, its path in the project."""
        if self._code and path.startswith(self._code):
            return self._project + path.removeprefix(self._code)
        return path

    def both(self) -> list[str]:
        """Files that were read and written, so that no later run can tell whether they are the same."""
        return sorted(map(self._name, self._written & self._seen.keys()))

    def unwatched(self, in_image: bool) -> Iterator[str]:
        """What the user's code read and no later submit looks at, one sentence each.

        Args:
            in_image: whether this is a pod, so that what was read is part of the training image.
        """
        name = "the project's code"
        for path in self.both():
            yield f"{name} reads and writes {path}: a change of that file repeats no training"
        files = [path for path in self.files() if not path.startswith(self._project)] if in_image else []
        if files:
            yield (
                f"{name} reads {len(files)} files of the training image, e.g. {files[0]}: a change of the "
                "image repeats no training"
            )

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not self._active:
            return
        path, mode, flags = arguments
        if not isinstance(path, str | os.PathLike) or not self._by_user(inspect.currentframe()):
            return
        real = os.path.realpath(path)
        if not self._is_users(real):
            return
        if (mode and set(mode) & set("wax+")) or flags & WRITES:
            self._written.add(real)
        else:
            self._note(real)

    def _by_user(self, frame: FrameType | None) -> bool:
        """Whether the user's code is between here and our step; what called our step does not count."""
        frame = frame.f_back if frame else None
        while frame is not None and frame.f_code.co_filename not in STEPS:
            name = frame.f_code.co_filename
            if name[:1] == os.sep and self._is_users(name):
                return True
            frame = frame.f_back
        return False

    def _is_users(self, path: str) -> bool:
        own = self._code is not None and path.startswith(self._code)
        return (own or not path.startswith(self._others)) and not path.endswith(".pyc")

    def _note(self, path: str) -> None:
        stamp = _stamp(path)
        if stamp is not None:
            self._seen.setdefault(path, stamp)


def _installed() -> list[str]:
    """The folders of Python, of installed packages, and of this program."""
    parts = [
        Path(errors.__file__).resolve().parents[1] / name
        for name in ("infra", "models", "pipelines", "serving")
    ]
    ours = [str(ROOT), *map(str, parts)]
    return [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), site.getusersitepackages(), *ours]


def _prefixes(folder: str) -> set[str]:
    return {f"{Path(folder).absolute()}{os.sep}", f"{Path(folder).resolve()}{os.sep}"}


def _stamp(path: str) -> Stamp | None:
    """What changes when a regular file's content does; None if it is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None
