"""What becomes of the releases of an endpoint: replaced, rolled back, forgotten, deleted, and up again after `down`."""

import json
import subprocess
import time

from tests.conftest import Cli


def test_rollback_and_delete(cli: Cli) -> None:
    quick = (
        "--set",
        "training.epochs=2",
        "--set",
        "gate.minimum=0.0",
        "--set",
        "gate.improve_on_champion=null",
    )
    first = cli.ok("submit", "wine", *quick, "-m", "the first one")
    second = cli.ok("submit", "wine", *quick, "--set", "training.seed=8")
    assert (first["release"], second["release"]) == (1, 2)
    assert first["endpoint"] == second["endpoint"]
    answer = json.loads(subprocess.check_output(first["curl"], shell=True))
    assert answer["release"] == 2
    assert cli.ok("rollback", "wine", "--message", "complaints")["release"] == 1
    assert json.loads(subprocess.check_output(first["curl"], shell=True))["release"] == 1
    assert cli("rollback", "wine", "--json").code == 2  # nothing before the first
    assert cli.ok("rollback", "wine", "--to", "2")["release"] == 2
    old = cli.ok("submit", "wine", *quick)  # it keeps its release, and takes nothing from its successor
    assert (old["run"], old["release"], {step["status"] for step in old["steps"]}) == (
        first["run"],
        1,
        {"cached"},
    )
    assert cli.ok("endpoints")[0]["release"] == 2
    cli.ok("submit", "wine", *quick, "--set", "training.seed=9", "--set", "serving.keep=2")
    assert [known["release"] for known in cli.ok("endpoints")[0]["releases"]] == [2, 3]
    assert "has no release 1; its releases are: 2, 3" in cli("rollback", "wine", "--to", "1").stderr
    assert "this one was forgotten" in cli("show", first["run"]).stdout
    anew = cli.ok(
        "submit", "wine", *quick
    )  # trained once, and released after it was compared with what is live now
    assert anew["release"] > 3 and {one["status"] for one in anew["steps"] if "train" in one["id"]} == {
        "cached"
    }
    assert cli.ok("delete", "wine", "-m", "unused")["deleted"] is True
    assert cli.ok("endpoints") == []
    assert cli("predict", "wine", stdin="[]").code == 2
    first = cli.ok("submit", "wine", *quick)
    assert first["status"] == "done"
    assert json.loads(subprocess.check_output(first["curl"], shell=True))["predictions"]
    told = cli.ok("history", "wine", "--verify")
    assert told["verified"] is True
    assert [(one["kind"], one["facts"]["release"], one["reason"]) for one in told["entries"]] == [
        ("released", 1, "the first one"),
        ("released", 2, ""),
        ("rolled_back", 1, "complaints"),
        ("rolled_back", 2, ""),
        ("released", 3, ""),
        ("released", anew["release"], ""),
        ("deleted", anew["release"], "unused"),
        ("released", 1, ""),
    ]
    assert told["entries"][2]["run"] == first["run"]


def test_down_leaves_no_process_and_a_submit_brings_the_endpoint_back(cli: Cli) -> None:
    quick = ("--set", "training.epochs=2", "--set", "gate.minimum=0.0")
    before = cli.ok("submit", "wine", *quick)
    assert len(cli.ok("down")["removed"]) == 2
    time.sleep(0.2)
    assert cli.processes() == []
    after = cli.ok("submit", "wine", *quick)
    assert (after["endpoint"], after["release"]) == (before["endpoint"], before["release"])
    assert json.loads(subprocess.check_output(after["curl"], shell=True))["release"] == 1
