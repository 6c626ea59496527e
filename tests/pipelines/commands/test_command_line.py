"""The command line's own promises: quick, quiet, and documented."""

import argparse
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import Cli
from tidegate.pipelines.parser import make_parser

COMMANDS = (
    *("submit", "plan", "resume", "cancel", "runs", "show", "logs", "compare", "ui"),
    *("endpoints", "predict", "rollback", "delete", "serve", "check", "init", "down", "gc"),
)


def commands() -> dict[str, str]:
    """Each command's help text."""
    parts = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {name: parser.format_help() for part in parts for name, parser in part.choices.items()}


def test_every_command_of_the_design_is_there_with_an_example() -> None:
    helps = commands()
    assert set(COMMANDS) <= set(helps)
    for name, text in helps.items():
        assert f"example: tidegate {name}" in text
        for option in ("--json", "--home", "--target"):
            assert option in text


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_every_command(shell: str) -> None:
    script = subprocess.run(
        [sys.executable, "-P", "-m", "tidegate.pipelines.cli", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(name in script for name in COMMANDS)


def test_nothing_heavy_is_imported_on_the_way_to_help_and_plan(cli: Cli) -> None:
    heavy = "{'tensorflow', 'keras', 'mlflow', 'bentoml', 'numpy', 'pandas', 'sklearn', 'optuna', 'psutil'}"
    for words in (["plan", "digits", "--home", str(cli.home)], ["runs", "--help"]):
        code = (
            "import sys\nfrom tidegate.pipelines.cli import main\n"
            f"try: main({words!r})\nexcept SystemExit: pass\n"
            f"sys.exit(' '.join(sorted({heavy} & set(sys.modules))) or 0)"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert ran.returncode == 0 and not ran.stderr.strip(), ran.stderr


def test_the_version_is_the_installed_one_and_looked_up_only_when_asked_for() -> None:
    code = (
        "import sys\nfrom tidegate.pipelines.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\nprint('importlib.metadata' in sys.modules)"
    )
    said = {
        word: subprocess.run(
            [sys.executable, "-c", code, word], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for word in ("--version", "--help")
    }
    assert said["--version"] == [f"tidegate {version('tidegate')}", "True"]
    assert said["--help"][-1] == "False"


def test_json_is_the_only_thing_on_stdout(cli: Cli) -> None:
    assert cli.ok("runs") == []
    assert cli.ok("endpoints") == []
    assert cli.ok("plan", "wine")["trials"] == 1
    assert cli.ok("plan", "--schema")["properties"]["data"]
    assert cli.ok("gc") == {"removed": [], "freed": 0, "kept": []}
    assert cli.ok("down") == {"removed": []}


def test_a_wrong_time_to_stay_is_told_before_the_first_step(cli: Cli) -> None:
    ran = replace(cli, env={"TIDEGATE_WARM": "soon"})("submit", "digits")
    assert ran.code == 2
    assert '$TIDEGATE_WARM is "soon"; expected seconds' in ran.stderr
    assert cli.ok("runs") == []


@pytest.mark.parametrize(
    ("processes", "told"),
    [
        ("auto", 'no run "nothing" here'),
        ("0", "--processes 0 is no number of servers; expected 1 to 64, or auto"),
        ("two", "argument --processes: received 'two'; expected 1 to 64, or auto"),
    ],
)
def test_how_many_servers_share_a_port(cli: Cli, processes: str, told: str) -> None:
    ran = cli("serve", "nothing", "--processes", processes)
    assert ran.code == 2
    assert told in ran.stderr


def test_plan_tells_what_is_live_and_what_would_change(shared: Cli, digits: dict[str, object]) -> None:
    plan = shared.ok("plan", "digits", "--set", "training.epochs=9")
    assert plan["run"] != digits["run"]
    assert {step["step"]: step["cached"] for step in plan["steps"]}["prepare"] is True
    assert plan["changes"] == [{"key": "training.epochs", "live": 8, "new": 9}]


def test_init_writes_an_experiment_that_can_be_planned(cli: Cli, tmp_path: Path) -> None:
    argv = [sys.executable, "-P", "-m", "tidegate.pipelines.cli", "init", str(tmp_path / "new")]
    subprocess.run(argv, check=True, capture_output=True)
    assert len(cli.ok("plan", str(tmp_path / "new" / "experiment.yaml"))["steps"]) == 7
    again = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert again.returncode == 2
    assert "already has" in again.stderr


def test_a_failed_submit_still_tells_its_run_in_json(shared: Cli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n1,a\n2\n")
    (tmp_path / "experiment.yaml").write_text(
        "name: ragged\ndata: {source: ./rows.csv, target: y}\nmodel: {family: mlp}\n"
    )
    ran = shared("submit", str(tmp_path / "experiment.yaml"), "--json")
    assert ran.code == 1
    assert ran.json["status"] == "failed"
    assert "rows.csv, line 3" in ran.json["reason"]
    assert [step["status"] for step in ran.json["steps"]] == ["failed"]
