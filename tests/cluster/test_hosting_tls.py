"""Endpoints with a certificate on a real cluster: what asks them checks it, and it is renewed under load."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import DAY, Authority, Issued
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.running import kubectl
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.targets import Tls
from tidegate.pipelines.steps.releasing.proof import Candidate
from tidegate.serving.deployment.client import Client
from tidegate.serving.deployment.connections import Trust
from tidegate.serving.deployment.release import load
from tidegate.serving.errors import ClientError, ServerStartError

from ..serving.server.test_tls import shown
from .conftest import NAMESPACE, Make, wait_for
from .open_loop import OpenLoop
from .releases import RIGHT, ROWS, labels

pytestmark = pytest.mark.cluster
RATE = 20.0  # requests a second
WILDCARD = f"*.{NAMESPACE}.svc"


def keep(layout: Layout, secret: str, issued: Issued, kind: str = "kubernetes.io/tls") -> None:
    """Write the Secret as cert-manager does, or as one of another type with other names in it."""
    files = {"tls.crt": issued.certificate, "tls.key": issued.key}
    files = files if kind.endswith("tls") else {f"my-{name}": content for name, content in files.items()}
    made = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": secret, "namespace": NAMESPACE},
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
    kubectl(layout, "apply", "-f", "-", stdin=json.dumps(made))


@dataclass(frozen=True)
class Secured:
    """A target whose endpoints have the certificates of a Secret, and the authority that issues them."""

    layout: Layout
    home: Home
    authority: Authority
    secret: str

    def keep(self, issued: Issued) -> None:
        keep(self.layout, self.secret, issued)

    def with_secret(self, name: str) -> Home:
        """The same target with another Secret."""
        assert self.home.target is not None and self.home.target.tls is not None
        tls = self.home.target.tls.model_copy(update={"secret": name})
        return Home(self.home.path, self.home.target.model_copy(update={"tls": tls}))


@pytest.fixture(scope="module")
def secured(home: Home, layout: Layout) -> Iterator[Secured]:
    assert home.target is not None
    authority = Authority()
    tls = Tls(secret="endpoints-tls", ca=authority.pem.decode())
    target = home.target.model_copy(update={"gateway": None, "tls": tls})
    made = Secured(layout, Home(home.path.with_name("secured"), target), authority, tls.secret)
    made.keep(authority.issue(WILDCARD))
    yield made


def service_address(layout: Layout, name: str) -> str:
    """The address of an endpoint's Service, which the host reaches as pods do."""
    return kubectl(layout, "-n", NAMESPACE, "get", "service", name, "-o", "jsonpath={.spec.clusterIP}")


def test_a_certificate_is_renewed_under_load_and_no_request_fails(
    endpoint: Make, secured: Secured, tmp_path: Path
) -> None:
    first = secured.authority.issue(WILDCARD, rsa_key=True)
    secured.keep(first)
    ours = endpoint("sealed", secured.home)
    number = ours.deploy()
    assert ours.verify(number) == RIGHT  # by the release's own address, whose certificate is the endpoint's
    assert ours.promote(number).url == f"https://sealed.{NAMESPACE}.svc:3000"
    address = service_address(secured.layout, "sealed")
    place, state = hosting(secured.home), load(secured.home.store, "sealed")
    with Client(f"https://{address}:3000", trust=place.trust(state)) as client:
        assert labels(client.predict(ROWS)) == RIGHT
    with (
        Client(
            f"https://{address}:3000", trust=Trust(Authority().pem.decode(), f"sealed.{NAMESPACE}.svc")
        ) as client,
        pytest.raises(ClientError, match=r"not trusted.*`tls.ca` in targets.yaml"),
    ):
        client.contract()

    def number_shown() -> int:
        (server,) = place.addresses(state)
        assert server.startswith("https://")
        return shown(
            int(server.rpartition(":")[2]), secured.authority, f"sealed.{NAMESPACE}.svc", server[8:-5]
        )

    assert number_shown() == first.serial
    second = secured.authority.issue(WILDCARD)
    (tmp_path / "ca.crt").write_bytes(secured.authority.pem)
    with OpenLoop(ours.url, ROWS, RATE, "", f"{address}:3000", tmp_path / "ca.crt") as load_:
        secured.keep(second)
        wait_for("the new certificate", lambda: number_shown() == second.serial, 120)
    assert load_.failures == []
    assert len(load_.answers) > 10


def test_a_canary_is_judged_over_tls(endpoint: Make, secured: Secured, tmp_path: Path) -> None:
    """Its shares are connections, and its pods' pages are read with their certificate checked."""
    plan = {"canary": {"steps": [50, 100], "bake": "3s"}, "slo": {"p99_ms": 500, "error_rate": 0.001}}
    ours = endpoint("judged", secured.home)
    ours.release(**plan)
    number = ours.deploy(**plan)
    (tmp_path / "ca.crt").write_bytes(secured.authority.pem)
    address = f"{service_address(secured.layout, 'judged')}:3000"
    with OpenLoop(ours.url, ROWS, 30, "", address, tmp_path / "ca.crt") as load_:
        outputs = ours.promote(number)
    assert load_.failures == []
    assert [stage.weight for stage in outputs.canary] == [50, 100]
    assert all(stage.figures["canary_requests"] >= 100 for stage in outputs.canary)


def test_a_wrong_certificate_is_told_before_the_old_release_loses_traffic(
    endpoint: Make, secured: Secured
) -> None:
    ours = endpoint("careful", secured.home)
    first = ours.release()
    authority = secured.authority
    for name, issued, words in (
        ("expired", authority.issue(WILDCARD, valid=-DAY), "expected one that is valid now; renew it"),
        ("opaque", authority.issue(WILDCARD), "non-existent secret key: tls.crt"),
        ("missing", None, 'secret "missing" not found'),
    ):
        if issued is not None:
            keep(secured.layout, name, issued, "Opaque" if name == "opaque" else "kubernetes.io/tls")
        ours.home = secured.with_secret(name)
        with pytest.raises(ServerStartError, match=words):
            ours.deploy()
    keep(secured.layout, "named", authority.issue("other.example"))
    ours.home = secured.with_secret("named")
    candidate = Candidate(ours.home, "careful", ours.deploy())
    with pytest.raises(
        ClientError, match=rf"Hostname mismatch.*expected one for careful.{NAMESPACE}.svc; issue"
    ):
        candidate.predict({"x": [0.5], "y": [0.5]})
    state = load(secured.home.store, "careful")
    assert (state.current, hosting(secured.home).answers(state)) == (first, True)


def test_a_target_that_gets_a_certificate_keeps_its_clients_until_the_release_is_proved(
    endpoint: Make, secured: Secured, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """One Service cannot speak both, so that there is no canary; the first release over TLS is ready before it."""
    assert home.target is not None
    ours = endpoint(
        "turned", Home(home.path.with_name("open"), home.target.model_copy(update={"gateway": None}))
    )
    first = ours.release()
    address = service_address(secured.layout, "turned")
    ours.home = secured.home
    number = ours.deploy(canary={"steps": [50, 100], "bake": "3s"})
    with Client(f"http://{address}:3000") as client:
        assert next(client.responses(ROWS))["release"] == first
    assert ours.promote(number).canary == ()
    assert "no canary: turned-r1 and turned-r2 speak http and https" in capsys.readouterr().out
    trust = hosting(secured.home).trust(load(secured.home.store, "turned"))
    with Client(f"https://{address}:3000", trust=trust) as client:
        assert next(client.responses(ROWS))["release"] == number
