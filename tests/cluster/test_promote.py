"""A release goes from this machine to a cluster, and from there to another namespace with a store of its own."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.pods.signing import TRUSTED
from tidegate.infra.testbed import install
from tidegate.infra.testbed.host.errors import TestbedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.running import kubectl
from tidegate.pipelines.state.home import open_home
from tidegate.serving.deployment.client import Client
from tidegate.serving.http.api_keys import new_key

from ..conftest import ROOT, Cli
from .conftest import Onto
from .namespace import make_namespace, make_target, remove_namespace
from .tiny import write_experiment

pytestmark = pytest.mark.cluster
NAME = f"carried{int(time.time())}"
PRODUCTION = "tidegate-production"
ROWS = [{"a": a, "b": a % 5} for a in range(17)]


@pytest.fixture(scope="module")
def targets(installed: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The testbed's target, and a second one, as an administrator sets it up."""
    folder, target = tmp_path_factory.mktemp("production"), make_target(installed, PRODUCTION, gateway=False)
    make_namespace(installed, target, folder)
    accounts = str(ROOT / "infra" / "manifests" / "base" / "accounts.yaml")
    kubectl(installed, "apply", "-n", PRODUCTION, "-f", accounts)
    found = yaml.safe_load(install.TARGETS.read_text())
    document = target.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    found["production"] = {**document, "context": "testbed", "images": found["testbed"]["images"]}
    path = folder / "targets.yaml"
    path.write_text(yaml.safe_dump(found))
    yield path
    remove_namespace(installed, PRODUCTION)
    try:
        kubectl(installed, "-n", install.NAMESPACE, "delete", f"configmap/{TRUSTED}")
    except TestbedError:
        print("no key was trusted")


@pytest.fixture(scope="module")
def laptop(onto: Onto, targets: Path) -> Iterator[Cli]:
    """The local home beside these targets."""
    cli = Cli(onto.home, {**onto.env, "TIDEGATE_TARGETS": str(targets)})
    yield cli
    for name in ("testbed", "production"):
        cli("delete", NAME, "--target", name)
    cli("down")


@pytest.fixture(scope="module")
def released(laptop: Cli, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = write_experiment(tmp_path_factory.mktemp("carried"), NAME)
    answer: dict[str, Any] = laptop.ok("submit", str(file), "-m", "the first one")
    return answer


def answers(url: str) -> Any:
    with Client(url) as client:
        return client.predict(ROWS)


def promote(source: str, target: str, *more: str) -> list[str]:
    return ["promote", NAME, "--from", source, "--to", target, *more]


def trust(laptop: Cli, target: str) -> str:
    (file,) = (laptop.home / "keys" / "trusted").glob("*.pub")
    laptop.ok("signing", "trust", str(file), "--target", target)
    return file.stem


def test_from_here_to_a_cluster_and_to_the_next(
    laptop: Cli, released: dict[str, Any], installed: Layout
) -> None:
    here = answers(released["endpoint"])
    refused = laptop(*promote("local", "testbed"))
    assert refused.code == 2 and "`tidegate signing trust" in refused.stderr
    assert "--target testbed`" in refused.stderr
    key = trust(laptop, "testbed")
    done = laptop.ok(*promote("local", "testbed", "-m", "looks good"))
    assert (done["promoted"], done["release"], done["signature"]) == (True, 1, key)
    assert done["rows"] > 10
    assert answers(done["url"]) == here
    again = laptop.ok(*promote("local", "testbed"))
    assert (again["promoted"], again["release"]) == (False, 1)

    trust(laptop, "production")
    last = laptop.ok(*promote("testbed", "production", "-m", "as agreed"))
    assert (last["origin"]["target"], last["release"], last["rows"]) == ("testbed", 1, done["rows"])
    traced = laptop.ok("trace", NAME, "--target", "production")
    assert traced["signature"] == {"key": key, "valid": True, "problem": ""}
    assert [one["kind"] for one in traced["origin"]["history"]] == ["promoted"]
    entries = laptop.ok("history", "--verify", "--target", "production")["entries"]
    assert [(one["kind"], one["reason"]) for one in entries] == [("promoted", "as agreed")]
    assert f"serviceaccount:{PRODUCTION}:tidegate-driver" in entries[0]["actor"]["through"]
    api = Cluster("testbed", PRODUCTION)
    (pod,) = api.list("Pod", f"tidegate.dev/endpoint={NAME}")
    assert pod["spec"]["initContainers"][0]["env"][-1]["name"] == "TIDEGATE_TRUSTED_KEYS"
    assert (
        kubectl(installed, "-n", PRODUCTION, "get", "jobs", "-l", "tidegate.dev/step=check", "-o", "name")
        == ""
    )


def test_a_secret_that_the_cluster_lacks_is_told_before_anything_is_copied(
    laptop: Cli, released: dict[str, Any], tmp_path: Path
) -> None:
    assert released["release"] == 1
    secrets = laptop.home / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "nobodys.keys").touch(mode=0o600)
    (secrets / "nobodys.keys").write_text(new_key("alice")[1] + "\n")
    laptop.ok("submit", str(write_experiment(tmp_path, NAME, "serving: {keys: nobodys}", period=13)))
    trust(laptop, "testbed")
    store = open_home(laptop.home, "local").store
    assert store.keys("endpoints/")
    before = laptop.ok("endpoints", "--target", "testbed")
    ran = laptop(*promote("local", "testbed"))
    assert ran.code == 2 and "nobodys" in ran.stderr and "nothing was copied" in ran.stderr
    assert laptop.ok("endpoints", "--target", "testbed") == before
