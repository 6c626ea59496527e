"""targets.yaml: what is right is read, what is wrong is told with the nearest right word."""

from pathlib import Path

import pytest

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
