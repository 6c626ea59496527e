"""What a command returns: plain data for `--json`, text for people, and an exit code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """The result of a command.

    Attributes:
        data: what `--json` prints.
        text: the same for people.
        exit_code: 0; 1 when a check failed; 3 for a refused candidate.
    """

    data: Any
    text: str
    exit_code: int = 0


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns lined up for a terminal."""
    cells = [[str(cell) for cell in row] for row in [headers, *rows]]
    widths = [max(len(row[index]) for row in cells) for index in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def item(name: str, ok: bool, detail: str, fix: str = "") -> dict[str, Any]:
    """One line of `check`: what was checked, what was found and, unless it is ok, how to fix it."""
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix}


def checked(items: Sequence[dict[str, Any]]) -> Result:
    """The result of `check`; exit code 1 when an item failed."""
    rows = [("ok" if one["ok"] else "FAIL", one["name"], one["detail"], one["fix"]) for one in items]
    failed = any(not one["ok"] for one in items)
    return Result(list(items), table(("", "item", "detail", "fix"), rows), 1 if failed else 0)
