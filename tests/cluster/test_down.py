"""The last test: taking the testbed down leaves the machine as it was."""

from pathlib import Path
from typing import Any

import psutil
import pytest

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


def test_down_leaves_nothing(layout: Layout, before: dict[str, Any]) -> None:
    assert cluster.down(layout)
    assert footprint() == before
    assert under(layout.state) == []
    assert not cluster.down(layout)
