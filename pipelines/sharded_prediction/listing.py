"""Which files a folder, a prefix or a pattern means, and whether an output would be among them."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tidegate.pipelines.errors import UsageError

WILD = "*?["
ANY = "**"  # as a whole name in a pattern: folders, as many as there are
WRITTEN = (
    "part-00000-of-00001.jsonl",
    "part-00000-of-00001.csv",
    "_batch/done/00000.json",
)  # by a prediction


class Keys:
    """What a bucket's URL with this key means: the keys below it, or those that match it.

    Raises:
        UsageError: it is no pattern.
    """

    def __init__(self, source: str, key: str) -> None:
        wild = next((place for place, letter in enumerate(key) if letter in WILD), None)
        self._pattern = None if wild is None else _pattern(source, key)
        self.prefix = key[:wild] if wild is not None else f"{key.rstrip('/')}/" if key else ""

    def has(self, key: str) -> bool:
        """Whether a key is of it and names data."""
        if key.endswith("/") or not key.startswith(self.prefix):
            return False
        if self._pattern is None:
            return _is_data(PurePosixPath(key.removeprefix(self.prefix)).parts)
        return _matches(PurePosixPath(key).parts, self._pattern)


def files_of(source: str) -> list[Path]:
    """The file, those below a folder, or those that match a pattern, sorted; links are followed.

    Raises:
        UsageError: it is no pattern, or a link leads back to a folder that it is in.
        OSError: a folder cannot be read.
    """
    path = Path(source).absolute()
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(found for found in _walk(path) if _is_data(found.relative_to(path).parts))
    pattern = _pattern(source, str(path))
    if ANY in pattern:
        return sorted(found for found in _walk(_fixed(pattern)) if _matches(found.parts, pattern))
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(found for found in matches if found.is_file() and _matches(found.parts, pattern))


def check_apart(source: str, output: str) -> None:
    """Refuse an output that would be input when the command is given again, or for another output.

    Raises:
        UsageError: it is one.
    """
    if any(_would_be_input(source, f"{output.rstrip('/')}/{name}") for name in WRITTEN):
        raise UsageError(
            f"--output {output} is within --input {source}, so the predictions would be input of the next command; "
            "expected a place beside it, or a folder there whose name begins with _; choose one"
        )


def _would_be_input(source: str, name: str) -> bool:
    bucket, mark, key = source.partition("://")
    if mark:
        (root, _, key), (other, _, below) = key.partition("/"), name.partition("://")[2].partition("/")
        return name.startswith(f"{bucket}://{root}/") and root == other and Keys(source, key).has(below)
    if "://" in name:
        return False
    path, file = Path(source).absolute(), Path(name).resolve()
    if path.is_file():
        return False
    if path.is_dir():
        folder = path.resolve()
        return file.is_relative_to(folder) and _is_data(file.relative_to(folder).parts)
    return _matches(Path(name).absolute().parts, _pattern(source, str(path)))


def _pattern(source: str, path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    if wrong := next((part for part in parts if ANY in part and part != ANY), None):
        raise UsageError(
            f"--input {source}: {wrong} has ** beside other letters; expected ** alone between slashes, for any number "
            "of folders; write **/*.csv, or * for one name"
        )
    return parts


def _fixed(pattern: tuple[str, ...]) -> Path:
    """The folder that all matches are in."""
    wild = next(place for place, part in enumerate(pattern) if any(letter in WILD for letter in part))
    return Path(*pattern[:wild])


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """As in a shell: `*` stands for no slash, and neither it nor `**` for a name that begins with `.` or `_`."""
    if not pattern:
        return not parts
    if pattern[0] == ANY:
        here = _matches(parts, pattern[1:]) if len(pattern) > 1 else len(parts) == 1 and _is_data(parts)
        return here or (bool(parts) and _is_data(parts[:1]) and _matches(parts[1:], pattern))
    if not parts or not fnmatchcase(parts[0], pattern[0]):
        return False
    named = pattern[0].startswith((".", "_")) or parts[0] == pattern[0]
    return (named or _is_data(parts[:1])) and _matches(parts[1:], pattern[1:])


def _walk(top: Path) -> Iterator[Path]:
    """Every file below, also behind links; a link that leads nowhere is given, so that it is told."""
    for folder, folders, names in os.walk(top, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if _is_data((name,))]
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink() and Path(folder).resolve().is_relative_to(path.resolve()):
                raise UsageError(f"--input: {path} links to a folder that it is in; expected none; remove it")
        paths = [Path(folder, name) for name in names]
        yield from (path for path in paths if path.is_file() or (path.is_symlink() and not path.exists()))


def _raise(error: OSError) -> None:
    raise error


def _is_data(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)
