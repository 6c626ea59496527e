"""Where a release comes from: traced, signed so that another tool checks it, and trained again to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.pipelines.state.test_bundles import fetch
from tests.serving.bundle.test_model_signing import verified
from tidegate.pipelines.signing.folders import trusted_folder
from tidegate.pipelines.signing.keys import current
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import CHAIN, open_bundle
from tidegate.serving.deployment.release import load


@pytest.fixture
def home(shared: Cli, digits: dict[str, Any]) -> Home:
    assert digits["status"] == "done"
    return Home(shared.home)


@pytest.fixture
def bundle(home: Home, digits: dict[str, Any]) -> Path:
    """Of the release of `digits`."""
    return fetch_bundle(home, load(home.store, "digits").release(digits["release"]).bundle)


@pytest.fixture
def public(home: Home) -> Path:
    key = current(home)
    assert key is not None
    return trusted_folder(home) / f"{key.id}.pub"


def test_trace(shared: Cli, digits: dict[str, Any], bundle: Path, public: Path) -> None:
    data = shared.ok("trace", "digits", "--release", str(digits["release"]))
    chain = data["chain"]
    assert (data["run"], chain["run"]) == (digits["run"], digits["run"])
    assert data["signature"] == {"key": public.stem, "valid": True, "problem": ""}
    manifest = open_bundle(bundle).manifest
    assert data["model"]["digest"] == chain["weights"]["model.onnx"] == manifest.files["model.onnx"].digest
    assert manifest.files[CHAIN].digest and data["bundle"] == bundle.name
    assert chain["parity"]["measured"]["max_abs_difference"] == digits["parity"]
    assert chain["gate"]["metrics"] == digits["metrics"]
    assert set(chain["code"]["steps"]) == {"prepare", "train", "select", "package"}
    assert (data["history"]["kind"], data["history"]["facts"]["bundle"]) == ("released", data["bundle"])
    told = shared("trace", "digits", "--release", str(digits["release"]))
    assert told.code == 0
    names = [line.split()[0] for line in told.stdout.splitlines() if not line.startswith(" ")]
    assert [name for name in names if name != "why"] == [
        *("data", "code", "lock", "weights", "parity", "gate", "signed", "who", "history", "release")
    ]
    for digest in (chain["data"]["source"], chain["weights"]["model.keras"], data["history"]["digest"]):
        assert digest[:16] in told.stdout


def test_the_tool_of_openssf_accepts_a_real_release(bundle: Path, public: Path) -> None:
    assert verified(bundle, public)


def test_an_init_container_takes_it_with_a_trusted_key_only(
    shared: Cli, bundle: Path, public: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pod of an endpoint runs on a cluster."""
    for place, (trusted, code) in enumerate(((public.parent, 0), (tmp_path, 1))):
        monkeypatch.setenv("TIDEGATE_TRUSTED_KEYS", str(trusted))
        done = fetch(bundle.name, tmp_path / f"release-{place}", shared.home / "store")
        assert (done.returncode, "trusted" in done.stderr) == (code, bool(code))


def test_a_run_is_trained_again_to_the_same_bits(shared: Cli, digits: dict[str, Any]) -> None:
    data = shared.ok("reproduce", digits["run"])
    assert (data["equal"], data["differs"], data["notes"]) == (True, None, [])
    assert (data["epochs"], data["arrays"] >= 4) == (8, True)


def test_the_first_step_that_differs_is_named(shared: Cli, home: Home, digits: dict[str, Any]) -> None:
    record = home.run_folder(digits["run"]).read()
    (prepare,) = [step for step in record.steps if step.step == "prepare"]
    made = home.store.read(f"steps/{prepare.key}.json")
    assert made is not None
    path = home.folder_of(json.loads(made[0])["run"]).call(
        prepare.id
    )  # another run of this home may have done it
    before = path.read_text()
    call = json.loads(before)
    call["inputs"]["data"]["split"]["seed"] += 1
    path.write_text(json.dumps(call))
    try:
        ran = shared("reproduce", digits["run"], "--json")
    finally:
        path.write_text(before)
    assert (ran.code, ran.json["equal"]) == (1, False)
    assert ran.json["differs"]["step"] == "prepare"
    assert "its output " in ran.json["differs"]["what"]
