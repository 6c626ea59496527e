"""What a page claims holds: its commands, its links, the paths and names in it."""

import ast
import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

import tidegate
from tests.docs.conftest import MADE, Shell, check_printed, first_block
from tests.docs.markdown import ROOT, Block, Page, files, pages
from tests.docs.tables import COMMANDS, TABLES
from tidegate.pipelines.commands.runs.summary import NOT_ENDED
from tidegate.pipelines.experiment.load import validate
from tidegate.pipelines.parser import make_parser
from tidegate.pipelines.python_api.errors import TABLE

PAGES = list(pages())
EVERY = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
WIDTH, README_LINES = 120, 200
HOUSE = {
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "tests/README.md",
    "tests/bench/README.md",
}
PACKAGES = {f"{package}/README.md" for package in ("pipelines", "models", "serving", "infra")}
CONSOLE = [block for page in PAGES for block in page.blocks if block.language == "console"]
RUN = [block for block in CONSOLE if block.not_run is None and block.recipe is None]
SUFFIXES = (".py", ".md", ".toml", ".yaml", ".png", ".txt")
# Files that a user has, or MLflow, and not this repository.
USERS = {"my_model.py", "experiment.yaml", "targets.yaml", "data/columns.txt"}
USERS |= {"alerts.yaml", "dashboard.json", "scrape.yaml", "operator.yaml"}  # of `tidegate monitoring`


def _id(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_the_pages_are_there() -> None:
    assert {page.name for page in PAGES} >= HOUSE | PACKAGES


def test_the_readme_is_short() -> None:
    assert len(Page(ROOT / "README.md").text.splitlines()) <= README_LINES


@EVERY
def test_no_line_is_wide(page: Page) -> None:
    wide = [line for line in page.prose.splitlines() if len(line) > WIDTH and not line.startswith("|")]
    assert wide == []


@EVERY
def test_every_link_leads_somewhere(page: Page) -> None:
    for link in page.links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        there = page.path if not path else (page.path.parent / path).resolve()
        assert there.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in Page(there).anchors, f"{link}: no such heading"


@EVERY
def test_every_path_exists(page: Page) -> None:
    missing = [span for span in page.spans if _looks_like_a_path(span) and not _exists(span, page)]
    assert missing == []


def _looks_like_a_path(span: str) -> bool:
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]*)*", span) or span in USERS:
        return False
    return span.endswith(SUFFIXES) or span.partition("/")[0] in {
        name.partition("/")[0] for name in files() if "/" in name
    }


def _exists(span: str, page: Page) -> bool:
    """Whether there is such a file or folder, seen from the root or from the page; a name alone may be anywhere."""
    beside = str(page.path.parent.relative_to(ROOT) / span)
    known = [name for name in files() for place in (span, beside) if _fits(name, place.rstrip("/"))]
    return bool(known) or ("/" not in span and any(Path(name).name == span for name in files()))


def _fits(name: str, place: str) -> bool:
    return fnmatchcase(name, place) or fnmatchcase(name, f"{place}/*")


@EVERY
def test_every_module_named_is_there(page: Page) -> None:
    named = set(re.findall(r"python -m ((?:tidegate|tests)[\w.]*)", page.text))
    for module in named:
        path = module.removeprefix("tidegate.").replace(".", "/")
        assert {f"{path}.py", f"{path}/__main__.py"} & files(), f"python -m {module}: no such module"


@EVERY
def test_every_make_target_exists(page: Page) -> None:
    words = [*page.spans, *(command for block in page.blocks for command, _ in block.commands)]
    asked = {target for line in words for target in re.findall(r"\bmake ((?!-)[a-z][a-z-]*)", line)}
    known = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert asked <= {target for line in known for target in line.split()}


def _contracts() -> dict[str, list[set[str]]]:
    """The rooms of each package from the top down, as import-linter holds them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [
        contract
        for contract in settings
        if contract["type"] == "layers" and contract["containers"] != ["tidegate"]
    ]
    return {
        contract["containers"][0].removeprefix("tidegate."): [
            set(layer.split(" | ")) for layer in contract["layers"]
        ]
        for contract in layers
    }


@pytest.mark.parametrize(("package", "rooms"), _contracts().items())
def test_the_rooms_are_those_of_the_import_contracts(package: str, rooms: list[set[str]]) -> None:
    text = Page(ROOT / package / "README.md").text
    picture = text[text.index("\n## Rooms") :].split("```\n")[1]
    shown = [line.strip(" └─").partition("  ")[0] for line in picture.splitlines()]
    assert [set(line.split(" | ")) for line in shown] == rooms


def test_the_layers_in_contributing_are_those_of_the_import_contracts() -> None:
    text = Page(ROOT / "CONTRIBUTING.md").text
    picture = text[text.index("\n## Layers") :].split("```\n")[1]
    orders = dict(line.split(maxsplit=1) for line in re.sub(r"\n +", " ", picture).splitlines())
    assert {
        package: [set(layer.split(" | ")) for layer in order.split(" > ")]
        for package, order in orders.items()
    } == _contracts()


def test_make_run_is_what_is_run_here() -> None:
    recipe = re.search(
        r"^run: setup\n\t@\$\(TIDEGATE\) (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    assert recipe is not None
    assert MADE["make run"] == f"tidegate {recipe[1]}"


@EVERY
def test_every_experiment_is_valid(page: Page) -> None:
    for block in page.blocks:
        document = yaml.safe_load(block.text) if block.language == "yaml" else None
        if isinstance(document, dict) and {"name", "data", "model"} <= set(document):
            validate(document, _id(block))


@EVERY
def test_every_name_of_the_python_api_is_there(page: Page) -> None:
    for block in page.blocks:
        if block.language == "python" and "import tidegate\n" in block.text:
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    assert node.value.id != "tidegate" or hasattr(tidegate, node.attr), node.attr


@EVERY
def test_every_command_line_can_be_parsed(page: Page) -> None:
    lines = [command for block in page.blocks for command, _ in block.commands]
    lines += [span for span in page.spans if span.startswith("tidegate ") and not re.search(r"[\[…]", span)]
    for words in (words for line in lines for words in _tidegate_commands(line)):
        if len(words) == 1 and words[0] in COMMANDS:  # the command itself is spoken of
            continue
        try:
            make_parser().parse_args(["1" if word == "N" else word for word in words])
        except SystemExit as end:
            if end.code:
                raise AssertionError(f"tidegate {' '.join(words)}: the parser refuses it") from end


def _tidegate_commands(line: str) -> list[list[str]]:
    """The arguments of each `tidegate` in a shell's line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = []
    inside = False
    for word in lexer:
        if set(word) <= set("();<>|&"):
            inside = False
        elif inside:
            found[-1].append(word)
        elif word.endswith("tidegate") and "=" not in word:
            inside = True
            found.append([])
    return [words for words in found if words]


@EVERY
def test_every_table_is_that_of_the_code(page: Page) -> None:
    for name, text in page.tables.items():
        assert text == TABLES[name](), f"{name}: run `python -m tests.docs`"


def test_every_table_has_its_place() -> None:
    assert {name for page in PAGES for name in page.tables} == set(TABLES)


def test_the_readme_names_the_pythons_that_are_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    low, high = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    named = re.findall(r"Python ((?:3\.\d+(?:, | or )?)+)", Page(ROOT / "README.md").text)
    assert [re.findall(r"3\.\d+", words) for words in named] == [[f"3.{n}" for n in range(low, high)]] * len(
        named
    )


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    text = Page(ROOT / "pipelines/README.md").text
    section = text[text.index("### Exit codes") :].partition("\n#")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
    assert codes == sorted({0, NOT_ENDED, *(kind.exit_code for _, kind in TABLE)})


@pytest.mark.parametrize("block", RUN, ids=_id)
def test_the_commands_print_what_the_page_says(block: Block, shell: Shell) -> None:
    for command, expected in block.commands:
        printed = "\n".join(shell.printed) if block == first_block() else shell.run(command)
        check_printed(command, expected, printed)
