"""Up, down and status of the testbed: the order in which the parts start and stop."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tidegate.infra.system import processes
from tidegate.infra.system.locks import lock
from tidegate.infra.testbed import addons, certificates, configuration, nodes, parts
from tidegate.infra.testbed.host import machine, packages
from tidegate.infra.testbed.host.errors import PreconditionError, TestbedError
from tidegate.infra.testbed.host.layout import NODE, Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.images import build
from tidegate.infra.testbed.running import check_alive, forget_dead, kubectl_succeeds, start, stop

# The kubelet stops first, or it would restart what is stopped after it.
STOPS = (
    ("kubelet", "kube-proxy", "traefik", "coredns", "metrics-server"),
    ("containerd", "scheduler", "controllers", "apiserver", "etcd"),
)
Say = Callable[[str], None]


def up(layout: Layout, say: Say) -> None:
    """Start the parts of the cluster that do not run; returns when all are ready.

    Raises:
        PreconditionError: this machine cannot run it; the message names the fix.
        BuildError: a part could not be built.
        NotReadyError: a part died, or did not become ready in time.
    """
    packages.ensure()
    with lock(layout.cache / "testbed.lock", error=TestbedError):
        _build(layout, say)
        if layout.state.exists() and not running(layout):
            # A restart of the machine killed every part. What containerd wrote last may be lost with it, and then
            # no pod starts.
            say("what an ended testbed left is removed; this one begins anew")
            _clear(layout)
        blocker = machine.find_conflict()
        if blocker and not (layout.state / "before.json").exists():
            raise PreconditionError(
                f"{blocker} is in use; stop the other cluster on this machine, then try again"
            )
        machine.save_settings(layout)
        forget_dead(layout)
        machine.prepare()
        certificates.ensure(layout)
        configuration.write(layout)
        _control_plane(layout, say)
        _node(layout, say)
        say("DNS, S3, metrics, gateway")
        addons.roles(layout)
        addons.metrics(layout)
        addons.s3(layout)
        addons.dns(layout)
        addons.gateway(layout)
        addons.ready(layout)


def down(layout: Layout) -> bool:
    """Stop everything and put the machine back as it was; the cache stays. Returns False if nothing was up."""
    packages.ensure_root()
    with lock(layout.cache / "testbed.lock", error=TestbedError):
        if not layout.state.exists():
            return False
        _clear(layout)
        return True


def running(layout: Layout) -> bool:
    """Return whether a part of the testbed runs."""
    return any(status(layout).values())


def status(layout: Layout) -> dict[str, bool]:
    """Return process name -> whether it is running; empty if nothing is up."""
    return {record.name: processes.alive(record) for record in processes.records(layout.processes)}


def _clear(layout: Layout) -> None:
    _stop(layout, (nodes.PROCESS, *STOPS[0]))
    machine.kill_pods()
    _stop(layout, STOPS[1])
    machine.restore(layout)


def _stop(layout: Layout, names: tuple[str, ...]) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: stop(layout, name), names))


def _build(layout: Layout, say: Say) -> None:
    for tool in build.missing(layout.cache):
        say(f"building {tool.folder} {build.version(tool)}, once (minutes)")
        build.build(layout.cache, tool)


def _control_plane(layout: Layout, say: Say) -> None:
    say("etcd, API server, controllers, scheduler")
    start(layout, "etcd", parts.etcd(layout))
    start(layout, "containerd", parts.containerd(layout))
    start(layout, "apiserver", parts.apiserver(layout))
    wait(
        "The API server", lambda: check_alive(layout) and kubectl_succeeds(layout, "get", "--raw=/readyz"), 40
    )
    start(layout, "controllers", parts.controllers(layout))
    start(layout, "scheduler", parts.scheduler(layout))


def _node(layout: Layout, say: Say) -> None:
    say("containerd, kubelet, kube-proxy")
    wait("containerd", lambda: check_alive(layout) and layout.containerd.exists(), 20)
    if images.PAUSE not in images.loaded(layout):
        images.load(layout, images.of_binary(layout, "pause", images.PAUSE))
    start(layout, "kubelet", parts.kubelet(layout))
    start(layout, "kube-proxy", parts.kube_proxy(layout))
    ready = ("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s")
    wait(f"Node {NODE}", lambda: check_alive(layout) and kubectl_succeeds(layout, *ready), 40)
