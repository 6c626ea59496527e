"""Which folders hold the user's own code: they are on the import path, and errors name lines in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_roots: list[Path] = []


def use_project(roots: Sequence[Path]) -> None:
    """Put a project's folders on the import path, the first one first, in place of those of an earlier call.

    Args:
        roots: the project's folder, and others that its imports start from, such as its `src`.
    """
    for root in _roots:
        if str(root) in sys.path:
            sys.path.remove(str(root))
    _roots[:] = [root.resolve() for root in roots]
    sys.path[:0] = [str(root) for root in _roots]


def project_roots() -> tuple[Path, ...]:
    """The folders that `use_project` put on the import path."""
    return tuple(_roots)


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
