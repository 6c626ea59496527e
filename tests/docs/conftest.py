"""A place where the pages' commands are run: a folder, a home and a BentoML store of their own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.docs.markdown import Block, Page

ENDPOINT, MLFLOW = "http://127.0.0.1:3000", "http://127.0.0.1:5000"
# What `make` does once it has set up; it is not run here, because it would install.
MADE = {"make run": "tidegate submit digits"}


@dataclass
class Shell:
    """Runs commands as a reader would, one after the other; remembers what was printed.

    With `follow`, the ports that pages name are replaced by those of the home's endpoint and MLflow.
    """

    cli: Cli
    folder: Path
    follow: bool = True
    printed: list[str] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> str:
        """What a command prints, stdout and stderr together; it must end well."""
        command = MADE.get(command, command)
        if command.endswith("…"):  # a line printed before, which the page shows the beginning of
            begin = self._here(command.removesuffix("…").strip())
            command = next(line for line in self.printed if line.startswith(begin))
        done = subprocess.run(
            ["bash", "-c", self._here(command)],
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        self.printed += done.stdout.splitlines()
        if self.follow and command.startswith("tidegate submit"):
            self._find_servers()
        return done.stdout

    def _here(self, command: str) -> str:
        """The ports that pages name may be taken: those of this home."""
        for known, here in self.urls.items():
            command = command.replace(known, here)
        return command

    def _find_servers(self) -> None:
        (live,) = (found for found in self.cli.ok("endpoints") if found["name"] == "digits")
        self.urls = {ENDPOINT: live["url"], MLFLOW: self.cli.ok("ui")["url"]}

    def _environment(self) -> dict[str, str]:
        tools = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        return {**self.cli.environment(), "TIDEGATE_HOME": str(self.cli.home), **tools}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in which the README's first block, a submit of `digits`, was run."""
    folder = tmp_path_factory.mktemp("pages")
    shell = Shell(Cli(folder / "home"), folder)
    try:
        shell.run(first_block().commands[0][0])
        yield shell
    finally:
        shell.cli("down")


def first_block() -> Block:
    """The README's first block."""
    return Page(ROOT / "README.md").blocks[0]


def check_printed(command: str, expected: list[str], printed: str) -> None:
    """Each line that the page shows is printed, in that order; … stands for anything, and numbers may be others."""
    lines = iter([_plain(line) for line in printed.splitlines()])
    for shown in expected:
        pattern = ".*".join(re.escape(part) for part in _plain(shown).split("…"))
        assert any(re.fullmatch(pattern, line) for line in lines), (
            f"{command}\nnot printed: {shown}\n{printed}"
        )


def _plain(line: str) -> str:
    """A line without what differs from run to run: numbers, ids, spaces, and the address of a home."""
    line = re.sub(r"\b[0-9a-f]{8,}\b", "#", line)
    line = re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", line)
    return " ".join(line.split())
