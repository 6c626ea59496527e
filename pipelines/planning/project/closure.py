"""Which files of a project a reference can reach: its module, what that imports, and the files these name.

Read from the source, nothing is imported for it. Imports count wherever they stand, except below
`if __name__ == "__main__"`. A string that is the name of a module or the path of a file or folder of the project
counts as a use of it: `import_module("churn.net")`, `Path(__file__).parent / "vectors.npy"`.
"""

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

SHORTEST = 3  # letters of a string that may be the name of a file


@dataclass(frozen=True)
class Closure:
    """What can be reached.

    Attributes:
        files: of the project, by their path in it, sorted.
        roots: folders that imports start from, relative to the project, those that were given and those it takes.
        packages: top-level names of other modules, neither of the project nor of the standard library.
    """

    files: tuple[str, ...] = ()
    roots: tuple[str, ...] = (".",)
    packages: tuple[str, ...] = ()


@dataclass
class _Walk:
    files: Mapping[str, Path]
    roots: list[str]
    fallback: str | None
    found: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folders: dict[str, list[str]] = {}  # a folder: the files below it
        self.names: dict[str, list[str]] = {}  # a file's last name: the files that are called so
        for file in self.files:
            path = PurePosixPath(file)
            self.names.setdefault(path.name, []).append(file)
            for parent in path.parents:
                self.folders.setdefault(str(parent), []).append(file)

    def module(self, name: str) -> bool:
        """Reach a module by its full name; whether it is one of the project."""
        for root in [*self.roots, *([self.fallback] if self.fallback is not None else [])]:
            files = files_of(name, root, self.files, self.folders)
            if files:
                if root not in self.roots:
                    self.roots.append(root)
                for file in files:
                    self.file(file)
                return True
        return False

    def file(self, name: str) -> None:
        """Reach a file, and what it reaches."""
        if name in self.found:
            return
        self.found.add(name)
        if name.endswith(".py"):
            self._scan(name)

    def _scan(self, name: str) -> None:
        try:
            tree = ast.parse(self.files[name].read_bytes())
        except (SyntaxError, ValueError, OSError):
            return  # the step that imports it says so, with its line
        for node in _nodes(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._imported(alias.name)
            elif isinstance(node, ast.ImportFrom):
                self._import_from(node, name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._named(node.value, name)
            elif isinstance(node, ast.Assign) and "__all__" in map(ast.unparse, node.targets):
                self._relative(PurePosixPath(name).parent, [ast.alias(one) for one in _texts(node.value)])

    def _import_from(self, node: ast.ImportFrom, file: str) -> None:
        module = node.module or ""
        if node.level:
            above = PurePosixPath(file).parents
            if node.level > len(above):
                return
            folder = above[node.level - 1]
            self._relative(folder.joinpath(*module.split(".")) if module else folder, node.names)
            return
        self._imported(module)
        if module.split(".")[0] not in self.packages:
            for alias in node.names:
                self.module(f"{module}.{alias.name}")

    def _relative(self, path: PurePosixPath, names: list[ast.alias]) -> None:
        places = [path, *(path / alias.name for alias in names)]
        for place in places:
            for file in (f"{place}/__init__.py", f"{place}.py"):
                if file in self.files:
                    self.file(file)
        for parent in path.parents:
            if (file := str(parent / "__init__.py")) in self.files:
                self.file(file)

    def _imported(self, name: str) -> None:
        parts = name.split(".")
        known = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
        if not any(self.module(module) for module in known) and parts[0] not in sys.stdlib_module_names:
            self.packages.add(parts[0])

    def _named(self, text: str, file: str) -> None:
        """Reach the modules, files and folders of the project that a string names."""
        if not SHORTEST <= len(text) <= 200 or "\n" in text:
            return
        if "." in text and text.replace(".", "").isidentifier():
            self.module(text)
        path = PurePosixPath(text.removeprefix("./"))
        for place in (PurePosixPath(file).parent, *(PurePosixPath(root) for root in self.roots)):
            self._below(str(place / path))
        if path.suffix:
            self._data(self.names.get(path.name, ()))

    def _below(self, place: str) -> None:
        if place in self.files:
            self.file(place)
        if place != ".":
            self._data(self.folders.get(place, ()))

    def _data(self, files: Collection[str]) -> None:
        for file in files:
            if not file.endswith(".py"):
                self.file(file)


def closure_of(
    files: Mapping[str, Path], modules: Collection[str], sources: Collection[str], roots: Collection[str]
) -> Closure:
    """What modules and files of a project reach.

    Args:
        files: the project's, by path.
        modules: full names, such as `churn.features`.
        sources: files by path, such as a model file; their folders are roots where their imports need it.
        roots: folders that imports start from.
    """
    folders = [str(PurePosixPath(source).parent) for source in sources]
    walk = _Walk(files, list(roots), next((one for one in folders if one not in roots), None))
    for module in modules:
        if not walk.module(module):
            walk.packages.add(module.split(".")[0])
    for source in sources:
        walk.file(source)
    ours = {"tidegate"}
    return Closure(tuple(sorted(walk.found)), tuple(walk.roots), tuple(sorted(walk.packages - ours)))


def files_of(
    name: str, root: str, files: Collection[str], folders: Mapping[str, Collection[str]]
) -> list[str]:
    """The files that Python runs for a module, those of the packages above it first; none where it is not there.

    Args:
        name: the module's full name.
        root: the folder that its name starts from.
        files: the project's.
        folders: of each folder the files below it.
    """
    parts = name.split(".")
    paths = [PurePosixPath(root).joinpath(*parts[: count + 1]) for count in range(len(parts))]
    own = [file for file in (str(paths[-1] / "__init__.py"), f"{paths[-1]}.py") if file in files][:1]
    if not own and not any(file.endswith(".py") for file in folders.get(str(paths[-1]), ())):
        return []
    return [*(file for path in paths[:-1] if (file := str(path / "__init__.py")) in files), *own]


def module_files(files: Mapping[str, Path], name: str, roots: Collection[str]) -> list[str]:
    """The files of a module in the first root that has it, its own last; none where the project has no such module."""
    folders = _Walk(files, [], None).folders
    return next((found for root in roots if (found := files_of(name, root, files, folders))), [])


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if __name__ == "__main__"`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        children = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.If) and _is_main_guard(node.test):
            children = list(node.orelse)
        waiting += children


def _texts(tree: ast.AST) -> Iterator[str]:
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    yield from (value for value in constants if isinstance(value, str))


def _is_main_guard(test: ast.expr) -> bool:
    sides = [test.left, *test.comparators] if isinstance(test, ast.Compare) else []
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    values = {side.value for side in sides if isinstance(side, ast.Constant)}
    return "__name__" in names and "__main__" in values
