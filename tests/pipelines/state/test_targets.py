"""targets.yaml: what is right is read, what is wrong is told with the nearest right word."""

from pathlib import Path

import pytest

from tests.certificates import Authority
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.state.targets import IN_POD, find_target, target_in_pod

GOOD = """
testbed:
  context: testbed
  store: {url: "s3://tidegate/testbed", endpoint: "http://127.0.0.1:30900"}
  mlflow: http://127.0.0.1:30500
  images: localhost/tidegate
  gateway: {name: tidegate, namespace: testbed, url: "http://127.0.0.1:8000"}
"""

BARE = "\n".join(line for line in GOOD.splitlines() if "gateway" not in line) + "\n"


@pytest.fixture(autouse=True)
def _no_targets_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIDEGATE_TARGETS", IN_POD):
        monkeypatch.delenv(name, raising=False)


def test_local_needs_no_file(tmp_path: Path) -> None:
    assert find_target(tmp_path, "local") is None


def test_a_target_is_read(tmp_path: Path) -> None:
    (tmp_path / "targets.yaml").write_text(GOOD)
    target = find_target(tmp_path, "testbed")
    assert target is not None and target.gateway is not None
    assert (target.namespace, target.store.url) == ("tidegate", "s3://tidegate/testbed")


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "testbed", 'no target "testbed" here.*add it to .*targets.yaml'),
        (GOOD, "testbad", 'did you mean "testbed"'),
        (GOOD.replace("images:", "image:"), "testbed", 'unknown key image.*did you mean "images"'),
        (GOOD.replace("s3://", "hdfs://"), "testbed", "store.url.*received 'hdfs://"),
        (GOOD.replace("s3://", "az://"), "testbed", "credentials is secret for az://; expected identity"),
        (GOOD.replace('30900"', '30900", credentials: none'), "testbed", "credentials.*received 'none'"),
        (
            f"{GOOD}  ingress: {{host: m.example}}\n",
            "testbed",
            "gateway and ingress; expected one of the two",
        ),
        (
            f"{GOOD}  tls: {{secret: shown}}\n",
            "testbed",
            "received tls and gateway.*leave tls out, and give the gate",
        ),
        (f"{BARE}  ingress: {{host: m.e}}\n  tls: {{secret: s}}\n", "testbed", "received tls and ingress"),
        (f"{BARE}  ingress: {{}}\n", "testbed", "ingress.host: Field required"),
        (f"{BARE}  ingress: {{host: 'http://m.e/'}}\n", "testbed", "ingress.host: .*received 'http://m.e/'"),
        (f"{BARE}  ingress: {{host: 'a.{{endpoint}}.e'}}\n", "testbed", "ingress.host: .*received"),
        (
            f"{BARE}  ingress: {{host: m.e, classes: x}}\n",
            "testbed",
            'unknown key ingress.classes; did you mean "class"',
        ),
        (
            f"{BARE}  ingress: {{host: m.e, tls_secret: A B}}\n",
            "testbed",
            "ingress.tls_secret: .*received 'A B'",
        ),
        (f"{BARE}  tls: {{secret: ''}}\n", "testbed", "tls.secret: .*at least 1"),
        (
            f"{BARE}  tls: {{secret: s, ca: no.crt}}\n",
            "testbed",
            "tls.ca: .*no.crt cannot be read.*correct the path",
        ),
        (
            f"{BARE}  tls: {{secret: s, ca: targets.yaml}}\n",
            "testbed",
            "has no certificate; expected certificates",
        ),
        ("- a\n", "a", "expected a name and, below it"),
        ("a: [\n", "a", "cannot be read"),
        ("a: {mlflow: x}\n", "a", "target a: store"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, name: str, words: str) -> None:
    (tmp_path / "targets.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        find_target(tmp_path, name)


def test_in_a_pod_the_store_is_as_seen_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "targets.yaml").write_text(GOOD)
    target = find_target(tmp_path, "testbed")
    assert target is not None
    monkeypatch.setenv(IN_POD, target.model_dump_json())
    monkeypatch.setenv("TIDEGATE_STORE", "s3://tidegate/testbed")
    monkeypatch.setenv("TIDEGATE_S3_ENDPOINT", "http://s3.testbed:9000")
    inside = target_in_pod()
    assert (inside.context, inside.store.endpoint) == (None, "http://s3.testbed:9000")
    assert inside.gateway == target.gateway


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("host: models.example", "http://models.example/wine"),
        ("host: models.example, tls_secret: shown", "https://models.example/wine"),
        ("host: '{endpoint}.models.example', tls_secret: shown", "https://wine.models.example"),
        ("host: localhost, port: 8000", "http://localhost:8000/wine"),
    ],
)
def test_an_ingress_says_where_an_endpoint_is(tmp_path: Path, given: str, url: str) -> None:
    (tmp_path / "targets.yaml").write_text(f"{BARE}  ingress: {{class: nginx, {given}}}\n")
    target = find_target(tmp_path, "testbed")
    assert target is not None and target.ingress is not None
    assert (target.ingress.url("wine"), target.ingress.rule().ingress_class) == (url, "nginx")


def test_a_driver_gets_what_the_file_of_authorities_holds(tmp_path: Path) -> None:
    authority = Authority().pem.decode()
    (tmp_path / "ca.crt").write_text(authority)
    (tmp_path / "targets.yaml").write_text(f"{BARE}  tls: {{secret: shown, ca: ca.crt}}\n")
    target = find_target(tmp_path, "testbed")
    assert target is not None and target.tls is not None
    assert target.tls.ca == authority.strip()
    (tmp_path / "ca.crt").write_text(f"# Zuständig für m.e\n{authority}")  # as bundles have it
    again = find_target(tmp_path, "testbed")
    assert again is not None and again.tls == target.tls
    (tmp_path / "ca.crt").write_bytes(Authority().issue("a.example").key)
    with pytest.raises(UsageError, match="a private key; expected certificates in PEM"):
        find_target(tmp_path, "testbed")
    (tmp_path / "ca.crt").write_text(authority.replace("MII", "!!!"))
    with pytest.raises(UsageError, match="a certificate that is damaged"):
        find_target(tmp_path, "testbed")
    (tmp_path / "ca.crt").write_text(authority * 200)
    with pytest.raises(UsageError, match=r"characters of certificates.*at most 65,536"):
        find_target(tmp_path, "testbed")
