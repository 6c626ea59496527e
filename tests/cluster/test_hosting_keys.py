"""API keys of an endpoint on a real cluster: who has none is refused, and keys are replaced under load."""

import json
import urllib.error

import pytest

from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.running import kubectl
from tidegate.serving.http.api_keys import new_key

from .conftest import NAMESPACE, Make, wait_for
from .open_loop import OpenLoop
from .releases import RIGHT, ROWS, Releases

pytestmark = pytest.mark.cluster
RATE = 20.0  # requests a second


def keep_keys(layout: Layout, *lines: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "askers", "namespace": NAMESPACE},
        "stringData": {"keys": "\n".join(lines)},
    }
    kubectl(layout, "apply", "-f", "-", stdin=json.dumps(secret))


def answers(guarded: Releases, key: str) -> bool:
    try:
        return bool(guarded.ask(key=key)["predictions"])
    except urllib.error.HTTPError as refused:
        assert refused.code == 401
        return False


def test_api_keys_are_replaced_under_load_and_no_request_fails(endpoint: Make, layout: Layout) -> None:
    (old, old_line), (new, new_line) = new_key("alice"), new_key("bob")
    keep_keys(layout, old_line)
    guarded = endpoint("guarded")
    number = guarded.deploy(keys="askers")
    assert guarded.verify(number) == RIGHT  # with a key of its own
    guarded.promote(number)
    assert [answers(guarded, key) for key in ("", new, old)] == [False, False, True]
    with OpenLoop(guarded.url, ROWS, RATE, old) as load_:
        keep_keys(layout, old_line, new_line)
        wait_for("the new key", lambda: answers(guarded, new), 180)
    assert load_.failures == []
    with OpenLoop(guarded.url, ROWS, RATE, new) as load_:
        keep_keys(layout, new_line)
        wait_for("the end of the old key", lambda: not answers(guarded, old), 180)
    assert load_.failures == []
    assert guarded.verify(number) == RIGHT
