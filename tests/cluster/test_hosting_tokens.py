"""JSON Web Tokens and limits through the gateway of a real cluster, from an issuer with a certificate of its own."""

import json
import ssl
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.certificates import Authority
from tests.serving.http.tokens.issuers import Issuer, Key, issuing, new_key, token
from tidegate.infra.testbed.host.layout import NODE_IP, Layout
from tidegate.infra.testbed.running import kubectl
from tidegate.pipelines.state.home import Home
from tidegate.serving.http.tokens.key_set import READ_AT_MOST_EVERY

from .conftest import NAMESPACE, Make
from .open_loop import OpenLoop
from .releases import RIGHT, ROWS, Releases

pytestmark = pytest.mark.cluster
RATE = 20.0  # requests a second
FIRST, SECOND, THIRD = new_key("first"), new_key("second"), new_key("third")


@dataclass
class Login:
    """The issuer's server on the node's address, which pods reach; it may be away."""

    context: ssl.SSLContext
    port: int = 0

    def up(self, *keys: Key) -> Any:
        """It runs with these keys until the end."""
        return issuing(*keys, host=NODE_IP, port=self.port, context=self.context)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def login(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Login:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(NODE_IP).write(tmp_path_factory.mktemp("login")))
    return Login(context)


@pytest.fixture(scope="module")
def trusting(home: Home, layout: Layout, authority: Authority) -> Iterator[Home]:
    """The target, whose endpoints trust that authority."""
    assert home.target is not None
    bundle = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "company-ca", "namespace": NAMESPACE},
        "data": {"ca.crt": authority.pem.decode()},
    }
    kubectl(layout, "apply", "-f", "-", stdin=json.dumps(bundle))
    pods = {"endpoints": {"ca_bundle": {"config_map": "company-ca"}}}
    yield Home(home.path.with_name("trusting"), home.target.model_copy(update={"pods": pods}))


def status(guarded: Releases, key: str) -> int:
    try:
        return 200 if guarded.ask(key=key)["predictions"] else 0
    except urllib.error.HTTPError as refused:
        return refused.code


def signed(key: Key, **claims: Any) -> str:
    """A token for ten minutes."""
    return token(key, exp=int(time.time()) + 600, **claims)


def test_tokens_keys_and_limits_through_the_gateway(endpoint: Make, trusting: Home, login: Login) -> None:
    guarded = endpoint("tokens", trusting)
    with login.up(FIRST) as issuer:
        login.port = issuer.port
        number = guarded.deploy(jwt=issuer.settings())
        assert guarded.verify(number) == RIGHT  # with a key of Tidegate's own
        guarded.promote(number)
        assert status(guarded, "") == 401
        refused = {"aud": "other", "iss": "https://evil.example/", "exp": 1}
        assert {status(guarded, token(FIRST, **{name: said})) for name, said in refused.items()} == {401}
        assert (status(guarded, signed(FIRST)), status(guarded, signed(SECOND))) == (200, 401)
        _keys_change(guarded, issuer)
    # The issuer is away: who is known may ask, and who is not is refused.
    with OpenLoop(guarded.url, ROWS, RATE, signed(SECOND)) as load_:
        assert status(guarded, signed(THIRD)) == 401
        time.sleep(READ_AT_MOST_EVERY)
        assert status(guarded, signed(THIRD)) == 401
        with login.up(SECOND, THIRD):
            time.sleep(READ_AT_MOST_EVERY)
            assert status(guarded, signed(THIRD)) == 200
    assert load_.failures == []


def _keys_change(guarded: Releases, issuer: Issuer) -> None:
    with OpenLoop(guarded.url, ROWS, RATE, signed(FIRST)) as load_:
        issuer.keys = [FIRST, SECOND]
        time.sleep(READ_AT_MOST_EVERY)  # after the last unknown key
        assert (
            status(guarded, signed(SECOND)) == 200
        )  # at once: the first request with it waits for the reading
    assert load_.failures == []
    with OpenLoop(guarded.url, ROWS, RATE, signed(SECOND)) as load_:
        issuer.keys = [SECOND]
        time.sleep(READ_AT_MOST_EVERY)
        assert status(guarded, signed(THIRD)) == 401  # makes the server read
        assert status(guarded, signed(FIRST)) == 401
    assert load_.failures == []


def test_a_caller_that_asks_too_often_is_told_through_the_gateway(
    endpoint: Make, trusting: Home, login: Login
) -> None:
    limited = endpoint("limited", trusting)
    with login.up(FIRST) as issuer:
        limited.release(jwt=issuer.settings(), rate_limit={"requests": 5, "per": "1m"})
        alice, bob = signed(FIRST), signed(FIRST, sub="bob")
        assert [status(limited, alice) for _ in range(7)] == [200] * 5 + [429] * 2
        with pytest.raises(urllib.error.HTTPError) as caught:
            limited.ask(key=alice)
        assert 0 < int(caught.value.headers["Retry-After"]) <= 60
        assert status(limited, bob) == 200  # each has a limit of its own
        for _ in range(6):
            assert limited.verify(1) == RIGHT  # and Tidegate has none
