"""A real Jupyter kernel: what it shows while it waits, and that a run outlives it."""

from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import LocalProvisioner

import tidegate
from tests.conftest import ROOT, Cli

SECONDS = 180


class Kernel:
    """A kernel, and what its cells show."""

    def __init__(self, cli: Cli) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env=cli.environment(), cwd=str(ROOT))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; return its messages."""
        messages: list[dict[str, Any]] = []
        self.client.execute_interactive(code, timeout=SECONDS, output_hook=messages.append)
        return messages

    def stop(self) -> None:
        """Kill the kernel at once."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernels() -> Iterator[list[Kernel]]:
    started: list[Kernel] = []
    yield started
    for kernel in started:
        kernel.stop()


def _html(messages: list[dict[str, Any]], kind: str) -> list[str]:
    return [one["content"]["data"]["text/html"] for one in messages if one["msg_type"] == kind]


@pytest.mark.usefixtures("digits")
def test_a_run_outlives_its_kernel_and_another_one_shows_its_progress_and_table(
    shared: Cli, kernels: list[Kernel]
) -> None:
    kernels.append(Kernel(shared))
    settings = {
        "name": "noted",
        "serving.endpoint": "digits",
        "training.epochs": 1,
    }  # worse than the champion
    kernels[0].run(
        f"import tidegate; run = tidegate.submit('digits', set={settings}, home={str(shared.home)!r})"
    )
    provisioner = kernels[0].manager.provisioner
    assert isinstance(provisioner, LocalProvisioner)
    process = provisioner.process
    kernels[0].stop()
    assert process is None or process.poll() is not None
    kernels.append(Kernel(shared))
    messages = kernels[1].run(
        f"import tidegate; run = tidegate.run('noted', home={str(shared.home)!r})\n"
        "try: run.wait()\nexcept tidegate.GateRefusedError as error: print(error)\nrun"
    )
    pages = _html(messages, "update_display_data")
    assert any("prepare-" in page for page in pages[:-1])
    assert pages[-1].endswith("refused")
    (table,) = _html(messages, "execute_result")
    assert "<td>refused</td>" in table and "<td>prepare-" in table
    printed = "".join(one["content"]["text"] for one in messages if one["msg_type"] == "stream")
    assert printed.startswith("run noted-") and "test_accuracy" in printed
    assert tidegate.run("noted", home=shared.home).status == "refused"
