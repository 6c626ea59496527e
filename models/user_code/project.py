"""Which folders hold the user's own code: they are on the import path, and errors name lines in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, TracebackType

_roots: list[Path] = []
_document: Path | None = None


def use_project(roots: Sequence[Path], document: Path | None = None) -> None:
    """Put a project's folders on the import path, the first one first, in place of those of an earlier call.

    Args:
        roots: the project's folder, and others that its imports start from, such as its `src`.
        document: its `code.json`, see `code_folder`, by which another process can use the same project; None: none.
    """
    global _document
    if [root.resolve() for root in roots] != _roots:  # another project may have modules of the same names
        for module in list(project_modules()):
            sys.modules.pop(module.__name__, None)
    for root in _roots:
        if str(root) in sys.path:
            sys.path.remove(str(root))
    _roots[:] = [root.resolve() for root in roots]
    sys.path[:0] = [str(root) for root in _roots]
    _document = document


def project_roots() -> tuple[Path, ...]:
    """The folders that `use_project` put on the import path."""
    return tuple(_roots)


def project_document() -> Path | None:
    """The `code.json` of the project in use, for other processes; None where there is none."""
    return _document


def project_modules() -> Iterator[ModuleType]:
    """The modules of the project that were imported so far."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(module, ModuleType) and file and in_project(Path(file)):
            yield module


def in_project(file: Path) -> bool:
    """Whether a file lies in one of the project's folders."""
    return any(file.is_relative_to(root) for root in _roots)


def line_in_project(trace: TracebackType | None) -> str:
    """`file:line` of the innermost frame in the project, relative to its folder; "" where none is."""
    found = ""
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        root = next((root for root in _roots if file.is_relative_to(root)), None)
        if root is not None:
            found = f"{file.relative_to(root)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
