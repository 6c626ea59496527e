"""The recipes of the pages work: each is followed, in a copy of this repository."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.docs.conftest import Shell, check_printed
from tests.docs.markdown import ROOT, Block, files, pages

RECIPES: dict[str, list[Block]] = {}
for _page in pages():
    for _block in _page.blocks:
        if _block.recipe is not None:
            RECIPES.setdefault(_block.recipe, []).append(_block)

EVERY = pytest.mark.parametrize("name", RECIPES)


def _changes(blocks: list[Block], root: Path) -> dict[str, str]:
    """What the files of a recipe hold after it, by path. The path is the block's first line, in Python as a comment."""
    changed: dict[str, str] = {}
    for block in blocks:
        head, _, rest = block.text.partition("\n")
        if block.language == "python":
            changed[head.removeprefix("# ")] = f"{rest}\n"
        elif block.language == "diff":
            before = changed.get(head) or (root / head).read_text("utf-8")
            changed[head] = _patched(before, rest.splitlines(), f"{block.page}:{block.line}")
    return changed


def _patched(text: str, diff: list[str], place: str) -> str:
    old, new = ("".join(f"{line[1:]}\n" for line in diff if line[:1] != sign) for sign in "+-")
    assert text.count(old) == 1, f"{place}: these lines are not in the file, or more than once:\n{old}"
    return text.replace(old, new)


def test_there_is_a_recipe_for_what_people_add() -> None:
    assert set(RECIPES) == {"a family", "a reader", "a step"}


@EVERY
def test_a_recipe_fits_the_code(name: str) -> None:
    for path, text in _changes(RECIPES[name], ROOT).items():
        compile(text, path, "exec")


def _copy(folder: Path, changes: Mapping[str, str]) -> Path:
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    for name, text in changes.items():
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.mark.slow
@EVERY
def test_a_recipe_works(name: str, tmp_path: Path) -> None:
    folder = _copy(tmp_path / "copy", _changes(RECIPES[name], ROOT))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    cli = Cli(tmp_path / "home", {"PYTHONPATH": str(folder / ".src")})
    shell = Shell(cli, folder, follow=False)
    try:
        for block in RECIPES[name]:
            for command, expected in block.commands if block.language == "console" else ():
                check_printed(command, expected, shell.run(command))
    finally:
        cli("down")
