"""The processes of the cluster, and kubectl: what the rest of the testbed talks to it through."""

from tidegate.infra.system import processes
from tidegate.infra.testbed.host.errors import NotReadyError, TestbedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run, tail
from tidegate.infra.testbed.images import build

GRACE_S = 4.0  # what they would save in a longer one is deleted anyway


def start(layout: Layout, name: str, argv: list[str]) -> None:
    """Start a process of the cluster, or find it living."""
    # HOME: some of them write below it, and `down` must find everything.
    env = {"HOME": str(layout.state), "TMPDIR": str(layout.state)}
    processes.start(layout.processes, name, argv, log=layout.log(name), cwd=layout.state, env=env)


def stop(layout: Layout, name: str) -> None:
    """Stop a process and what it started."""
    processes.stop(layout.processes, name, GRACE_S)


def forget_dead(layout: Layout) -> None:
    """Forget the processes that died, so that they are started anew."""
    for record in processes.records(layout.processes):
        if not processes.alive(record):
            stop(layout, record.name)


def check_alive(layout: Layout) -> bool:
    """Return True; a dead process is an error that shows the end of its log.

    Raises:
        NotReadyError: a process of the cluster died.
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
    """Tell whether kubectl succeeds with these words."""
    try:
        kubectl(layout, *words)
    except TestbedError:
        return False
    return True
