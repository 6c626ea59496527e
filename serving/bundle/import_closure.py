"""Which files of ours a module can reach through its imports: what a bento must carry, what a step's result depends on.

Read from the source, so that nothing is imported for it. A string that is the full name of a module, as in the tables
of families and readers, counts as an import of it, for whoever imports the module that holds the table.
"""

import os
import re
from collections.abc import Collection, Iterator
from functools import cache
from io import FileIO
from pathlib import Path

ROOT = Path(__file__).parents[
    2
]  # `import tidegate` would make the text of the Python API count for each step
# A pattern that begins with plain text is looked for ten times as fast as one that begins with the start of a line.
IMPORT = re.compile(r"from (tidegate[\w.]*) import (\([^)]*\)|[^\n]*)")
PLAIN = re.compile(r"import (tidegate[\w.]*)")
NAMED = re.compile(r'"(tidegate\.[\w.]+)"')
WORD = re.compile(r"\w+")
FOR_TYPES = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+[^\n]*\n|\n)*", re.MULTILINE)  # never run


def import_closure(
    modules: Collection[str], stop: Collection[str] = (), packages: bool = True
) -> dict[str, Path]:
    """Return the modules that these reach, themselves included, and the file of each.

    Args:
        modules: full names, such as `tidegate.pipelines.steps.prepare`.
        stop: modules and packages that are left out, with all that only they reach.
        packages: whether the packages that only hold a module on the way are in it too: Python runs their
            `__init__.py`, but a table of names there is nothing to a module that does not import it.

    Raises:
        ValueError: one of `modules` does not exist.
    """
    return {name: Path(_files()[name]) for name in reached_modules(modules, stop, packages)}


def reached_modules(modules: Collection[str], stop: Collection[str] = (), packages: bool = True) -> list[str]:
    """Return the names of `import_closure`, sorted."""
    files = _files()
    for name in modules:
        if name not in files:
            raise ValueError(f"module {name!r} does not exist below {ROOT}; expected one of ours")
    found, explicit = set[str](), set[str]()
    inside_of_stop = tuple(f"{name}." for name in stop)
    waiting = [(name, True) for name in modules]
    while waiting:
        name, asked = waiting.pop()
        if name in explicit or (name in found and not asked):
            continue
        if name not in files or name in stop or name.startswith(inside_of_stop):
            continue
        found.add(name)
        if asked:
            explicit.add(name)
            waiting += [(parent, False) for parent in _parents(name)] if packages else []
        imported, named = _scanned(name)
        waiting += [(other, True) for other in (*imported, *(named if asked else ()))]
    return sorted(found)


def file_of(module: str) -> Path | None:
    """Return the file of a module of ours, or None where there is none of that name."""
    file = _files().get(module)
    return Path(file) if file else None


@cache
def _files() -> dict[str, str]:
    """The file of each module of ours, by its full name; all folders are listed once, which is quicker than asking."""
    found, folders = dict[str, str](), [(str(ROOT), "tidegate")]
    for folder, package in folders:  # which grows
        with os.scandir(folder) as entries:
            for entry in entries:
                name, dot, suffix = entry.name.partition(".")
                if suffix == "py":
                    module = package if name == "__init__" else f"{package}.{name}"
                    # A package counts before a module of its name, as in an import.
                    if name == "__init__" or module not in found:
                        found[module] = entry.path
                elif not dot and name != "__pycache__" and entry.is_dir():
                    folders.append((entry.path, f"{package}.{name}"))
    return found


@cache
def content_of(module: str) -> bytes:
    """Return the content of a module of ours, as it was when it was first asked for."""
    with FileIO(_files()[module]) as file:
        return file.readall()


@cache
def _scanned(module: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules that a module imports, and those that its strings name."""
    text = content_of(module).decode()
    named = NAMED.findall(text) if '"tidegate.' in text else ()
    return tuple(imports_in(text)), tuple(name for name in named if name in _files())


def imports_in(text: str) -> Iterator[str]:
    """Yield the modules of ours that a Python file's text imports, anywhere in it but for type checkers."""
    known = _files()
    if "TYPE_CHECKING" in text:
        text = FOR_TYPES.sub("", text)
    if "import tidegate" in text:
        yield from (
            found[1] for found in PLAIN.finditer(text) if _begins_line(text, found) and found[1] in known
        )
    for found in IMPORT.finditer(text):
        if not _begins_line(text, found):
            continue
        module, names = found.groups()
        inside = [f"{module}.{name}" for name in WORD.findall(names)]
        modules = [name for name in inside if name in known]
        yield from modules
        if len(modules) < len(inside) and module in known:  # something is taken from the module itself
            yield module


def _begins_line(text: str, found: re.Match[str]) -> bool:
    return not text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip(" \t")


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))
