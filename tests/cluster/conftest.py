"""One testbed for all cluster tests: up once, Tidegate's side installed, and taken down by the last test.

A testbed that is up already is used as it is, and left up.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.cluster.endpoint import ClusterEndpoint
from tidegate.infra.cluster.jobs import steps_of
from tidegate.infra.testbed import cluster, install
from tidegate.infra.testbed.host import machine
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run_unchecked
from tidegate.infra.testbed.images import ours
from tidegate.pipelines.state.home import Home

from ..conftest import Cli
from .namespace import make_namespace, make_target, remove_namespace
from .releases import Releases

T = TypeVar("T")
NAMESPACE = "tidegate-hosting"  # of endpoints without a run
Make = Callable[[str], Releases]
FIRST, LAST = "test_testbed.py", "test_down.py"
WAS_UP = cluster.running(Layout.default())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The testbed's own tests first; taking it down last, and only what these tests brought up."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    if not here:
        return
    order = {FIRST: 0, LAST: 2}
    items.sort(key=lambda item: order.get(item.path.name, 1) if item in here else 0)
    if WAS_UP:
        gone = [item for item in here if item.path.name == LAST]
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


def footprint() -> dict[str, Any]:
    """Everything on the machine that the testbed changes while it is up."""
    return {
        # nft, because iptables-save makes the table that it is asked for.
        "rules": re.sub(r"counter packets \d+ bytes \d+", "", run_unchecked(["nft", "list", "ruleset"])),
        "routes": run_unchecked(["ip", "route"]),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "sysctls": machine.sysctls(),
        "folders": [folder for folder in machine.FOLDERS if Path(folder).exists()],
        "plugins": Path("/usr/libexec/kubernetes").exists(),
        "cgroups": [str(path) for path in machine.CGROUPS.glob(f"*/{machine.PODS}")],
    }


@pytest.fixture(scope="session")
def before() -> dict[str, Any]:
    """The machine as it was before the testbed came up, without what a killed one left."""
    if not WAS_UP:
        cluster.down(Layout.default())
    return footprint()


@pytest.fixture(scope="session")
def layout(before: dict[str, Any]) -> Iterator[Layout]:
    """The testbed, up."""
    assert before["links"]
    layout = Layout.default()
    try:
        cluster.up(layout, lambda text: print(text, file=sys.stderr))
        yield layout
    finally:
        if not WAS_UP:
            cluster.down(layout)


@dataclass(frozen=True)
class Onto(Cli):
    """`tidegate --target testbed` from one home."""

    target: str = field(default="testbed")

    def argv(self, *args: str) -> list[str]:
        return [*super().argv(*args), "--target", self.target]


@pytest.fixture(scope="session")
def installed(layout: Layout) -> Layout:
    """The testbed with our images and our side of the cluster."""

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    ours.ensure(layout, ("driver", "train", "serve-onnx", "serve-tensorflow", "mlflow"), say)
    install.install(layout, say)
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    return layout


@pytest.fixture(scope="session")
def api(installed: Layout) -> Cluster:
    """The namespace, as its administrator sees it."""
    assert installed.kubeconfig.exists()
    return Cluster("testbed", install.NAMESPACE)


@pytest.fixture(scope="session")
def onto(installed: Layout, tmp_path_factory: pytest.TempPathFactory) -> Onto:
    """A laptop whose target is the testbed."""
    env = {
        "KUBECONFIG": str(installed.kubeconfig),
        "AWS_SHARED_CREDENTIALS_FILE": str(install.credentials(installed)),
        "TIDEGATE_TARGETS": str(install.TARGETS),
    }
    return Onto(tmp_path_factory.mktemp("laptop") / "home", env)


@pytest.fixture(scope="module")
def home(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The home of a target with a gateway."""
    ours.ensure(layout, ("driver", "serve-onnx"), print)
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(install.credentials(layout))
    os.environ["MLFLOW_TRACKING_URI"] = (
        "http://127.0.0.1:9"  # none: the pointer counts, the alias follows later
    )
    install.bucket(layout)
    folder = tmp_path_factory.mktemp("hosting")
    target = make_target(layout, NAMESPACE)
    make_namespace(layout, target, folder)
    yield Home(folder / "home", target)
    remove_namespace(layout, NAMESPACE)


@pytest.fixture
def endpoint(home: Home, tmp_path: Path) -> Iterator[Make]:
    """Makes an endpoint, which is removed after the test."""
    made: list[str] = []

    def make(name: str, where: Home | None = None) -> Releases:
        made.append(name)
        return Releases(where or home, name, tmp_path)

    yield make
    for name in made:  # its pods may take their time: names are not used twice
        ClusterEndpoint(home.cluster, name, None).remove_all()


def wait_for(what: str, probe: Callable[[], T | None], timeout: float = 120) -> T:
    """Ask until the answer is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.25)
    pytest.fail(f"{what}: not within {timeout:g} s")


def left(api: Cluster, run: str) -> list[str]:
    """What a run still has in the cluster, but for its finished driver's Job."""
    labels = steps_of(run)
    return [f"{kind} {obj['metadata']['name']}" for kind in ("Job", "Pod") for obj in api.list(kind, labels)]
