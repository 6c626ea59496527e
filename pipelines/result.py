"""What a command answers: plain data for `--json`, text for people, and an exit code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """A command's answer.

    Attributes:
        data: JSON-able.
        text: the same for people.
        exit_code: as in the design: 0, or 3 for a refused candidate.
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
    """One line of `check`: what was looked at, how it is, and what to do where it is not well."""
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix}


def checked(items: Sequence[dict[str, Any]]) -> Result:
    """The answer of `check`; exit code 1 when an item is not well."""
    rows = [("ok" if one["ok"] else "FAIL", one["name"], one["detail"], one["fix"]) for one in items]
    failed = any(not one["ok"] for one in items)
    return Result(list(items), table(("", "item", "detail", "fix"), rows), 1 if failed else 0)
