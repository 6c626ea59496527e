"""Which files of ours a module can reach through its imports: what a bento must carry, what a step's result depends on.

Read from the source, so that nothing is imported for it. A string that is the full name of a module, as in the tables
of families and readers, counts as an import of it, for whoever imports the module that holds the table.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
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
    for name in modules:
        if file_of(name) is None:
            raise ValueError(f"module {name!r} does not exist below {ROOT}; expected one of ours")
    found: dict[str, Path] = {}
    explicit: set[str] = set()
    inside_of_stop = tuple(f"{name}." for name in stop)
    waiting = [(name, True) for name in modules]
    while waiting:
        name, asked = waiting.pop()
        if name in explicit or (name in found and not asked):
            continue
        file = file_of(name)
        if file is None or name in stop or name.startswith(inside_of_stop):
            continue
        found[name] = file
        if asked:
            explicit.add(name)
            waiting += [(parent, False) for parent in _parents(name)] if packages else []
        imported, named = _scanned(file)
        waiting += [(other, True) for other in (*imported, *(named if asked else ()))]
    return dict(sorted(found.items()))


@cache
def file_of(module: str) -> Path | None:
    """Return the file of a module of ours, or None where there is none of that name."""
    _, *parts = module.split(".")
    folder = "/".join([str(ROOT), *parts[:-1]])
    if not parts:
        choices = [(folder, "__init__.py")]
    elif parts[-1] in _listed(folder):
        choices = [(f"{folder}/{parts[-1]}", "__init__.py"), (folder, f"{parts[-1]}.py")]
    else:
        choices = [(folder, f"{parts[-1]}.py")]
    return next((Path(place, name) for place, name in choices if name in _listed(place)), None)


@cache
def _listed(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in Path(folder).iterdir())
    except OSError:
        return frozenset()


@cache
def content_of_file(file: Path) -> bytes:
    """Return the content of a file of ours, as it was when it was first asked for."""
    return file.read_bytes()


@cache
def _scanned(file: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules that a file imports, and those that its strings name."""
    text = content_of_file(file).decode()
    return tuple(imports_in(text)), tuple(name for name in NAMED.findall(text) if file_of(name))


def imports_in(text: str) -> Iterator[str]:
    """Yield the modules of ours that a Python file's text imports, anywhere in it but for type checkers."""
    if "TYPE_CHECKING" in text:
        text = FOR_TYPES.sub("", text)
    yield from (found[1] for found in PLAIN.finditer(text) if _begins_line(text, found) and file_of(found[1]))
    for found in IMPORT.finditer(text):
        if not _begins_line(text, found):
            continue
        module, names = found.groups()
        inside = [f"{module}.{name}" for name in WORD.findall(names)]
        modules = [name for name in inside if file_of(name)]
        yield from modules
        if len(modules) < len(inside) and file_of(module):  # something is taken from the module itself
            yield module


def _begins_line(text: str, found: re.Match[str]) -> bool:
    return not text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip(" \t")


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))
