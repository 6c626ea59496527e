"""The Debian packages the testbed runs on: containers, etcd, firewall, and load."""

import os
import shutil
import sys
from pathlib import Path

from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.shell import run

# A program each, by the package that has it.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "etcd": "etcd-server",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "wrk": "wrk",
}


def ensure() -> None:
    """Install what is missing.

    Raises:
        PreconditionError: not Linux, not root, or a package is missing and cannot be installed.
    """
    ensure_root()
    needed = missing()
    if not needed:
        return
    words = " ".join(needed)
    if not shutil.which("apt-get"):
        raise PreconditionError(
            f"The testbed needs {words}, and there is no apt-get: install them, then try again."
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], error=PreconditionError, env=env)
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *needed],
        error=PreconditionError,
        env=env,
    )
    if missing():
        raise PreconditionError(
            f"apt-get install {words} left {' '.join(missing())} missing: install them by hand."
        )


def ensure_root() -> None:
    """Refuse where the testbed cannot run at all.

    Raises:
        PreconditionError: not Linux, or not root.
    """
    if sys.platform != "linux":
        raise PreconditionError(
            "The testbed needs Linux: its containers, bridge and firewall are the kernel's."
        )
    if os.geteuid() != 0:
        raise PreconditionError("The testbed needs root (containers, a bridge, firewall rules): use sudo.")


def missing() -> list[str]:
    """Return the packages whose program is not here."""
    return [package for program, package in PACKAGES.items() if not _here(program)]


def _here(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None
