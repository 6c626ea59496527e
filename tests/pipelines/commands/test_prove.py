"""prove: an endpoint's server and a new process answer the golden rows; one that answers wrong is told."""

from __future__ import annotations

from tests.conftest import Cli
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import PROBES
from tidegate.serving.deployment.release import load


def test_prove(the_endpoint: str, shared: Cli) -> None:
    ran = shared("prove", the_endpoint, "--json")
    assert ran.code == 0, ran.stderr
    data = ran.json
    assert (data["endpoint"], data["proved"]) == (the_endpoint, True)
    assert 4 <= data["rows"] <= 32
    assert 0 <= data["share"] < 1
    assert data["servers"] == {"a new process": "", f"release {data['release']}": ""}
    told = shared("prove", the_endpoint)
    assert "a new process" in told.stdout
    assert "as trained" in told.stdout


def test_prove_what_is_not_there(shared: Cli) -> None:
    ran = shared("prove", "no-such-endpoint")
    assert ran.code == 2
    assert 'no endpoint "no-such-endpoint" here' in ran.stderr


def test_a_bundle_that_was_changed_on_the_disk(the_endpoint: str, shared: Cli) -> None:
    """What the server has loaded is right; one that starts now would not be."""
    home = Home(shared.home)
    state = load(home.store, the_endpoint)
    path = fetch_bundle(home, state.release(state.current or 0).bundle) / PROBES
    content, mode = path.read_bytes(), path.stat().st_mode
    assert hosting(home).answers(state)
    path.chmod(0o644)
    path.write_bytes(content[:-1] + b"x")
    try:
        ran = shared("prove", the_endpoint)
        assert ran.code == 1
        assert "has changed" in ran.stderr
    finally:
        path.write_bytes(content)
        path.chmod(mode)
