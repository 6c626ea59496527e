"""The Debian packages that the testbed needs: containers, etcd, firewall, load generator."""

import os
import shutil
import sys
from pathlib import Path

from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.shell import run

# Program -> the package that contains it.
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
            f"{words} cannot be installed without apt-get; install them by hand, then try again"
        )
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], error=PreconditionError, env=env)
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *needed],
        error=PreconditionError,
        env=env,
    )
    if missing():
        raise PreconditionError(f"{' '.join(missing())} is missing after apt-get install; install it by hand")


def ensure_root() -> None:
    """Check that this is Linux and that we are root.

    Raises:
        PreconditionError: not Linux, or not root.
    """
    if sys.platform != "linux":
        raise PreconditionError(f"the system is {sys.platform}; the testbed needs Linux; use a Linux machine")
    if os.geteuid() != 0:
        raise PreconditionError("the testbed needs root (containers, a bridge, firewall rules); use sudo")


def missing() -> list[str]:
    """Return the packages whose program is not installed."""
    return [package for program, package in PACKAGES.items() if not _installed(program)]


def _installed(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None
