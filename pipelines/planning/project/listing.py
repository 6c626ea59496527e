"""Which files of a project a run takes along: those that git does not ignore, nor a `.tidegateignore`.

Git itself decides, in a folder that is no repository too: there it reads the `.gitignore` files and knows of no other
file. Without git, everything but the usual folders of tools counts.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate.pipelines.errors import ExperimentError

IGNORE = ".tidegateignore"
# Folders that hold no code of the project, whether git is told so or not.
TOOLS = {
    *(".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".tox", ".nox", ".eggs"),
    *(".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tidegate", "mlruns"),
}


def project_files(folder: Path, leave_out: Sequence[Path] = ()) -> dict[str, Path]:
    """The project's files by their path in it, sorted.

    Args:
        folder: the project's.
        leave_out: files and folders that are no code, such as the data and the home.

    Raises:
        ExperimentError: the folder does not exist, or a link leads out of it.
    """
    if not folder.is_dir():
        raise ExperimentError(
            f"code.path: {folder} is no folder; expected the project's; paths resolve against the experiment file"
        )
    outside = [path.resolve() for path in leave_out]
    found, links = dict[str, Path](), dict[str, str]()
    for name in sorted(_listed(folder)):
        path = folder / name
        real = path.resolve()
        if any(real == other or other in real.parents for other in outside):
            continue
        if not real.is_relative_to(folder.resolve()):
            raise ExperimentError(
                f"code.path: {name} is a link to {real}, outside of the project {folder}; expected files of the "
                f"project only; copy it in, or name it in {IGNORE}"
            )
        if real.is_dir():
            links[name] = f"{real.relative_to(folder.resolve()).as_posix()}/"
        elif real.is_file():
            found[name] = path
    for link, target in links.items():  # what lies in the folder is there under both names
        inside = {name: path for name, path in found.items() if name.startswith(target)}
        found |= {f"{link}/{name.removeprefix(target)}": path for name, path in inside.items()}
    return dict(sorted(found.items()))


def _listed(folder: Path) -> Iterator[str]:
    """Names relative to the folder, of files and links, those of repositories inside it too."""
    names = _by_git(folder)
    for name in _walked(folder) if names is None else names:
        if set(Path(name).parts) & TOOLS or _is_environment(folder, name):
            continue
        if (folder / name).is_dir() and not (folder / name).is_symlink():  # a repository of its own
            yield from (f"{name.rstrip('/')}/{inner}" for inner in _listed(folder / name))
        else:
            yield name


def _is_environment(folder: Path, name: str) -> bool:
    """Whether a file lies in a virtual environment."""
    return any((folder / parent / "pyvenv.cfg").is_file() for parent in Path(name).parents)


def _by_git(folder: Path) -> list[str] | None:
    """What git lists; None where there is no git."""
    if shutil.which("git") is None:
        return None
    listed = _ls_files(folder, [], "--exclude-standard")
    if listed is not None:
        return listed
    with tempfile.TemporaryDirectory(
        prefix="tidegate-"
    ) as empty:  # an index without files, outside of the project
        if _git(Path(empty), "init", "--quiet", "--bare", "git") is None:
            return None
        inside = [f"--git-dir={empty}/git", f"--work-tree={folder}"]
        return _ls_files(folder, inside, "--exclude-per-directory=.gitignore")


def _ls_files(folder: Path, inside: list[str], rule: str) -> list[str] | None:
    names = _git(folder, *inside, "ls-files", "-z", "-co", rule)
    if names is None or not any(Path(name).name == IGNORE for name in names):
        return names
    own = f"--exclude-per-directory={IGNORE}"
    ignored = [_git(folder, *inside, "ls-files", "-z", kind, "-i", own) or [] for kind in ("-c", "-o")]
    return sorted(set(names).difference(*ignored))


def _git(folder: Path, *arguments: str) -> list[str] | None:
    """The names that git prints; None if it fails, as outside of a repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        argv = ["git", *arguments]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, check=True)
        return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return None


def _walked(folder: Path) -> Iterator[str]:
    for above, folders, files in os.walk(folder):
        links = [name for name in folders if Path(above, name).is_symlink()]
        folders[:] = [name for name in folders if name not in TOOLS]
        yield from (str(Path(above, name).relative_to(folder)) for name in (*files, *links))
