"""What the testbed changes on the machine outside its own folders, and how it is restored."""

import json
import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tidegate.infra.system.files import write_atomic
from tidegate.infra.testbed.host.errors import TestbedError
from tidegate.infra.testbed.host.layout import BRIDGE, NODE_IP, SERVICE_CIDR, Layout
from tidegate.infra.testbed.host.shell import run, run_unchecked, wait

SYSCTL = Path("/proc/sys")
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",  # NodePorts on 127.0.0.1
    "net/bridge/bridge-nf-call-iptables": "1",
}
# The kubelet and kube-proxy set these by themselves; `down` restores them.
CLUSTER_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
)
# Folders whose paths containerd, runc, CNI and the kubelet do not let us choose.
FOLDERS = (
    "/run/containerd",
    "/run/cni",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/run/xtables.lock",
)
CGROUPS = Path("/sys/fs/cgroup")
PODS = "kubepods"
CLUSTER_RULES = re.compile(r"\b(KUBE-|CNI-)")
FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}


def save_settings(layout: Layout) -> None:
    """Save what `down` must restore; once, before the first change."""
    path = layout.state / "before.json"
    if path.exists():
        return
    before = {
        "sysctls": sysctls(),
        "folders": [folder for folder in FOLDERS if Path(folder).exists()],
        "tables": run_unchecked(["nft", "list", "tables"]).splitlines(),
    }
    write_atomic(path, json.dumps(before, indent=1).encode())


def sysctls() -> dict[str, str]:
    """Return the present value of every kernel setting that the cluster changes."""
    names = (name for name in (*SYSCTLS, *CLUSTER_SYSCTLS) if (SYSCTL / name).exists())
    return {name: (SYSCTL / name).read_text().strip() for name in names}


def prepare() -> None:
    """Make the bridge, whose address is the node's, and let the kernel forward between pods."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "replace", f"{NODE_IP}/24", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    # Service addresses never leave by the real interface, whatever kube-proxy knows of them.
    run(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE])
    for name, value in SYSCTLS.items():
        if (SYSCTL / name).exists():
            (SYSCTL / name).write_text(value)


def find_conflict() -> str | None:
    """Return what another cluster on this machine already uses, or None."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        return f"the network bridge {BRIDGE}"
    if _pod_processes():
        return f"the cgroup {PODS}, with another kubelet's pods"
    return None


def kill_pods() -> None:
    """Kill every process of every pod: all that lives in the kubelet's cgroup. The kubelet must be stopped."""
    wait("The end of the pods", _killed, 20)


def _killed() -> bool:
    left = _pod_processes()
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return not left


def _pod_processes() -> set[int]:
    found: set[int] = set()
    for root in _pod_cgroups():
        # os.walk, unlike rglob, tolerates folders that disappear meanwhile.
        for path in (Path(folder, "cgroup.procs") for folder, _, _ in os.walk(root)):
            with suppress(OSError):
                found.update(int(word) for word in path.read_text().split())
    return found


def _pod_cgroups() -> list[Path]:
    return [root for root in (CGROUPS / PODS, *CGROUPS.glob(f"*/{PODS}")) if root.is_dir()]


def restore(layout: Layout) -> None:
    """Undo every change; each part does nothing if there is nothing to undo."""
    path = layout.state / "before.json"
    before = json.loads(path.read_bytes()) if path.exists() else None
    _unmount(layout.state)
    # The kernel removes the ports of killed pods only after some time.
    for port in Path(f"/sys/class/net/{BRIDGE}/brif").glob("*"):
        run_unchecked(["ip", "link", "delete", port.name])
    run_unchecked(["ip", "link", "delete", BRIDGE])
    for root in _pod_cgroups():
        _remove_cgroup(root)
    _forget_rules(before["tables"] if before else None)
    if before:
        _put_back(before)
    shutil.rmtree(layout.state, ignore_errors=True)
    if layout.state.exists():
        raise TestbedError(f"{layout.state} cannot be removed; look for a mount or process in it")


def _unmount(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for target in sorted((m for m in mounted if Path(m).is_relative_to(folder)), reverse=True):
        run_unchecked(["umount", "--lazy", target])


def _remove_cgroup(root: Path) -> None:
    # A cgroup is removed by rmdir, children first; its files disappear with it.
    for path in sorted((Path(folder) for folder, _, _ in os.walk(root)), reverse=True):
        with suppress(OSError):
            path.rmdir()
    with suppress(OSError):
        root.rmdir()


def _forget_rules(tables: list[str] | None) -> None:
    """Drop the chains and rules of kube-proxy, the kubelet and CNI; then the tables that only they had made."""
    for program, family in FAMILIES.items():
        rules = run_unchecked([f"{program}-save"])
        if CLUSTER_RULES.search(rules):
            kept = [line for line in rules.splitlines() if not CLUSTER_RULES.search(line)]
            run([f"{program}-restore"], stdin="\n".join(kept) + "\n")
        if tables is None:
            continue
        left = run_unchecked([f"{program}-save"])
        for table in ("raw", "mangle", "nat", "filter"):
            new = f"table {family} {table}" not in tables
            if new and not _rules(left, table):
                run_unchecked(["nft", "delete", "table", family, table])


def _rules(saved: str, table: str) -> list[str]:
    """Return the rules and user-defined chains of a table, as iptables-save writes them."""
    part = re.search(rf"^\*{table}$(.*?)^COMMIT$", saved, re.MULTILINE | re.DOTALL)
    lines = part[1].splitlines() if part else []
    return [line for line in lines if line.startswith("-A") or re.match(r":\S+ -", line)]


def _put_back(before: dict[str, Any]) -> None:
    for name, value in before["sysctls"].items():
        if (SYSCTL / name).exists():
            (SYSCTL / name).write_text(value)
    for folder in set(FOLDERS) - set(before["folders"]):
        _unmount(Path(folder))
        if Path(folder).is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            Path(folder).unlink(missing_ok=True)
