"""The last tests: a testbed whose parts were all killed begins anew; taking it down leaves the machine as it was."""

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from tidegate.infra.system import processes
from tidegate.infra.testbed import cluster
from tidegate.infra.testbed.host.layout import Layout

from .conftest import footprint

pytestmark = pytest.mark.cluster


def under(folder: Path) -> list[str]:
    """Return the mounts and processes that use `folder`, and the folder itself."""
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words:
            found.append(words)
    return found + ([str(folder)] if folder.exists() else [])


def test_a_testbed_whose_parts_were_all_killed_begins_anew(layout: Layout) -> None:
    """As after a restart of the machine that lost what containerd had written last."""
    for record in processes.records(layout.processes):
        psutil.Process(record.pid).kill()
    shutil.rmtree(layout.state / "containerd/io.containerd.content.v1.content/blobs")
    assert not cluster.running(layout)
    said: list[str] = []
    cluster.up(layout, said.append)
    assert any("begins anew" in text for text in said)
    assert all(cluster.status(layout).values())


def test_down_leaves_nothing(layout: Layout, before: dict[str, Any]) -> None:
    assert cluster.down(layout)
    assert footprint() == before
    assert under(layout.state) == []
    assert not cluster.down(layout)
