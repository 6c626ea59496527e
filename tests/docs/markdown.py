"""What the tests need to know of a page: its blocks, links, headings and code spans."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)$")
MARK = re.compile(r"<!-- (not run|recipe): (.+) -->")
TABLE = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its first line's number, its text.

    `not_run` says why its commands are not run, `recipe` of which recipe it is a part; None: neither.
    """

    page: str
    language: str
    line: int
    text: str
    not_run: str | None = None
    recipe: str | None = None

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Of a console block, each command and the lines that it prints."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        return found


@dataclass(frozen=True)
class Page:
    """A Markdown file of this repository."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        lines, blocks, begin = self.text.splitlines(), [], 0
        language = ""
        for number, line in enumerate(lines):
            match = FENCE.match(line)
            if match and not begin:
                begin, language = number + 1, match[1]
            elif line == "```":
                mark = MARK.fullmatch(lines[begin - 2]) if begin > 1 else None
                told = {mark[1].replace(" ", "_"): mark[2]} if mark else {}
                blocks.append(Block(self.name, language, begin, "\n".join(lines[begin:number]), **told))
                begin = 0
        return blocks

    @cached_property
    def prose(self) -> str:
        """The page without fenced blocks, which become empty lines."""
        kept, inside = [], False
        for line in self.text.splitlines():
            fence = line.startswith("```")
            kept.append("" if inside or fence else line)
            inside ^= fence
        return "\n".join(kept)

    @property
    def links(self) -> list[str]:
        return LINK.findall(self.prose)

    @property
    def spans(self) -> list[str]:
        return SPAN.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """Where a link's #anchor may lead, as GitHub makes it of a heading."""
        return {_anchor(line.lstrip("#")) for line in self.prose.splitlines() if line.startswith("#")}

    @property
    def tables(self) -> dict[str, str]:
        """The tables that `python -m tests.docs` writes, by name."""
        return dict(TABLE.findall(self.text))


def _anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")


@cache
def files() -> frozenset[str]:
    """Every file that git has, or would take, relative to the root."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(found.stdout.splitlines())


def pages() -> Iterator[Page]:
    """Every page of ours."""
    yield from (Page(ROOT / name) for name in sorted(files()) if name.endswith(".md"))
