"""Starts and stops the processes of the cluster, and runs kubectl."""

from tidegate.infra.system import processes
from tidegate.infra.testbed.host.errors import NotReadyError, TestbedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run, tail
from tidegate.infra.testbed.images import build

GRACE_S = 4.0  # short, because their data is deleted anyway


def start(layout: Layout, name: str, argv: list[str]) -> None:
    """Start a process of the cluster unless it runs."""
    # Some of them write below HOME, and `down` must find everything.
    env = {"HOME": str(layout.state), "TMPDIR": str(layout.state)}
    processes.start(layout.processes, name, argv, log=layout.log(name), cwd=layout.state, env=env)


def stop(layout: Layout, name: str) -> None:
    """Stop a process and everything it started."""
    processes.stop(layout.processes, name, GRACE_S)


def forget_dead(layout: Layout) -> None:
    """Delete the records of dead processes, so that they are started again."""
    for record in processes.records(layout.processes):
        if not processes.alive(record):
            stop(layout, record.name)


def check_alive(layout: Layout) -> bool:
    """Return True if all processes of the cluster run.

    Raises:
        NotReadyError: one died; with the end of its log.
    """
    for record in processes.records(layout.processes):
        if not processes.alive(record):
            last = tail(record.log.read_text(errors="replace")) if record.log.exists() else ""
            raise NotReadyError(f"{record.name} died; {record.log} ends with:\n{last}")
    return True


def kubectl(layout: Layout, *words: str, stdin: str | None = None) -> str:
    """Run kubectl as the administrator and return its stdout."""
    program = build.binary(layout.cache, "kubectl")
    return run([program, f"--kubeconfig={layout.kubeconfig}", *words], stdin=stdin)


def kubectl_succeeds(layout: Layout, *words: str) -> bool:
    """Return whether kubectl succeeds with these arguments."""
    try:
        kubectl(layout, *words)
    except TestbedError:
        return False
    return True
