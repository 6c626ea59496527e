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
from tidegate.infra.cluster.jobs import steps_of
from tidegate.infra.testbed import cluster, install
from tidegate.infra.testbed.host import machine
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run_unchecked
from tidegate.infra.testbed.images import ours

from ..conftest import Cli

T = TypeVar("T")
FIRST, LAST = "test_testbed.py", "test_down.py"
WAS_UP = Layout.default().state.exists()


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
    """The machine as it was before the testbed came up."""
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
