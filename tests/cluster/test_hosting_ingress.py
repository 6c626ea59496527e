"""Endpoints behind an Ingress, with a real controller: releases under load, a canary by replicas, and what is left."""

import json
import ssl
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.certificates import Authority
from tests.serving.server.test_tls import shown
from tidegate.infra.testbed.host.layout import GATEWAY_PORT, GATEWAY_TLS_PORT, Layout
from tidegate.infra.testbed.running import kubectl
from tidegate.pipelines.commands.checking.target import check_target
from tidegate.pipelines.commands.endpoints import lifecycle
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Ingress
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.connections import Trust
from tidegate.serving.deployment.release import load

from .conftest import NAMESPACE, Make, wait_for
from .namespace import left_over
from .open_loop import OpenLoop
from .releases import RIGHT, ROWS, labels
from .test_hosting_tls import keep

pytestmark = pytest.mark.cluster
RATE = 30.0  # requests a second
GOLDEN = Path(__file__).parents[1] / "golden"


def behind(home: Home, **more: Any) -> Home:
    """The target with an Ingress in place of its gateway; `localhost` is a name that this machine resolves."""
    assert home.target is not None
    rule = Ingress.model_validate({"class": "traefik", "host": "localhost", "port": GATEWAY_PORT, **more})
    target = home.target.model_copy(update={"gateway": None, "ingress": rule})
    return Home(home.path.with_name("ingress"), target)


def test_releases_change_behind_an_ingress_and_no_request_fails(
    endpoint: Make, home: Home, layout: Layout
) -> None:
    ours = endpoint("entered", behind(home))
    assert "an Ingress has no weights" in hosting(ours.home).describe(
        Serving.model_validate({"canary": {"steps": [50, 100], "bake": "3s"}})
    )
    first = ours.deploy()
    assert ours.verify(first) == RIGHT
    with pytest.raises(urllib.error.HTTPError, match="404") as told:
        ours.ask()  # it is verified, and has no traffic yet
    told.value.close()
    assert ours.promote(first).url == f"http://localhost:{GATEWAY_PORT}/entered"
    wait_for("the Ingress", lambda: answers(ours), 20)
    assert labels(ours.ask()["predictions"]) == RIGHT
    with Client(ours.url) as client:
        assert client.ready()
        assert client.contract()["task"] == "classification"  # every path is below it
    plan = {"canary": {"steps": [50, 100], "bake": "3s"}, "slo": {"p99_ms": 500, "error_rate": 0.001}}
    with OpenLoop(ours.url, ROWS, RATE) as load_:
        second = ours.deploy(**plan)
        outputs = ours.promote(second)
        time.sleep(2)
        lifecycle.rollback(ours.home, "entered", None)
        changed = time.time()
        time.sleep(3)
    assert load_.failures == []
    assert [stage.weight for stage in outputs.canary] == [50, 100]
    assert load_.releases(changed + 1) == {first}
    lifecycle.delete_endpoint(ours.home, "entered")
    assert left_over(layout, NAMESPACE, "entered") == []


def test_an_ingress_shows_the_certificate_of_its_secret(endpoint: Make, home: Home, layout: Layout) -> None:
    authority = Authority()
    issued = authority.issue("localhost")
    keep(layout, "ingress-tls", issued)
    ours = endpoint("shut", behind(home, port=GATEWAY_TLS_PORT, tls_secret="ingress-tls"))
    assert ours.promote(ours.deploy()).url == f"https://localhost:{GATEWAY_TLS_PORT}/shut"

    def shows() -> bool:
        try:
            return shown(GATEWAY_TLS_PORT, authority, "localhost") == issued.serial
        except ssl.SSLCertVerificationError:  # the controller's own, until it has read the Secret
            return False

    wait_for("the certificate", shows, 20)
    with Client(ours.url, trust=Trust(authority.pem.decode())) as client:
        wait_for("the Ingress", client.ready, 20)
        assert labels(client.predict(ROWS)) == RIGHT


def answers(ours: Any) -> bool:
    try:
        return bool(ours.ask())
    except urllib.error.HTTPError as error:
        error.close()
        return False


def test_a_gateways_route_goes_when_a_target_has_an_ingress(
    endpoint: Make, home: Home, layout: Layout
) -> None:
    ours = endpoint("moved")
    ours.release()
    assert "httproute.gateway.networking.k8s.io/moved" in left_over(layout, NAMESPACE, "moved")
    ours.home = behind(home, host="{endpoint}.localhost")
    ours.release()
    left = left_over(layout, NAMESPACE, "moved")
    assert "ingress.networking.k8s.io/moved" in left
    assert "httproute.gateway.networking.k8s.io/moved" not in left


def test_a_release_of_a_gateway_keeps_its_route_until_one_fits_the_ingress(
    endpoint: Make, home: Home, layout: Layout
) -> None:
    """Of one host for all endpoints: a server takes /NAME from paths, and one from before does not."""
    ours = endpoint("staying")
    first = ours.release()
    ours.home = behind(home)
    hosting(ours.home).retire_others(load(ours.home.store, "staying"))  # as gc does
    left = left_over(layout, NAMESPACE, "staying")
    assert "httproute.gateway.networking.k8s.io/staying" in left
    assert "ingress.networking.k8s.io/staying" not in left
    ours.release(canary={"steps": [50, 100], "bake": "1s"})
    wait_for("the Ingress", lambda: answers(ours), 20)
    left = left_over(layout, NAMESPACE, "staying")
    assert "ingress.networking.k8s.io/staying" in left
    assert "httproute.gateway.networking.k8s.io/staying" not in left
    with pytest.raises(UsageError, match=f"release {first} of staying is from before the target's Ingress"):
        lifecycle.rollback(ours.home, "staying", None)
    assert answers(ours)


def test_a_target_with_an_ingress_is_checked(home: Home) -> None:
    found = {}
    for rule in ({}, {"class": "nothing"}, {"class": ""}, {"port": 1}):
        items = {one["name"]: one for one in check_target(behind(home, **rule))}
        assert "right: ingresses" in items
        found[str(rule)] = [
            items["ingress"]["ok"],
            items["ingress's address"]["ok"],
            items["ingress"]["detail"],
        ]
    assert found == {
        "{}": [True, True, "class traefik"],
        "{'class': 'nothing'}": [False, True, "there is no IngressClass nothing"],
        "{'class': ''}": [False, True, "no IngressClass is the default"],
        "{'port': 1}": [True, False, "class traefik"],
    }


@pytest.mark.parametrize("kind", ["ingress", "tls"])
def test_the_api_server_takes_what_is_shown(home: Home, layout: Layout, kind: str) -> None:
    assert home.target is not None
    objects = [*yaml.safe_load_all((GOLDEN / f"endpoint-{kind}.yaml").read_text())]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    words = ("apply", "--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-f", "-", "-o", "name")
    names = kubectl(layout, *words, stdin=text).split()
    assert len(names) == len(objects)
    assert ("ingress.networking.k8s.io/wine" in names) == (kind == "ingress")
