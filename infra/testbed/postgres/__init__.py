"""The testbed's replacement for the public `postgres:15` image: Debian's packages and our own entry point."""

import hashlib
import platform
import secrets
from pathlib import Path

from tidegate.infra.testbed.host.errors import BuildError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run
from tidegate.infra.testbed.images import oci

NAME = "localhost/tidegate/postgres:15"
VERSION = 15
ENTRY = Path(__file__).with_name("docker-entrypoint.sh")
USER = 999  # as in the public image
BIN = f"/usr/lib/postgresql/{VERSION}/bin"
# Debian's package would create a database at installation, and use whichever user id is free.
NO_CLUSTER = (
    'mkdir -p "$1/etc/postgresql-common" && '
    'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
)
OWN_USER = f'chroot "$1" sh -c "groupmod -g {USER} postgres && usermod -u {USER} -g {USER} postgres"'


def archive(layout: Layout) -> Path:
    """Return the image as an OCI archive, made by mmdebstrap on first use (half a minute).

    Raises:
        BuildError: mmdebstrap failed.
    """
    digest = hashlib.sha256(ENTRY.read_bytes()).hexdigest()[:8]
    target = layout.cache / "images" / f"postgres-{VERSION}-{platform.machine()}-{digest}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    layer = target.with_name(f".layer-{secrets.token_hex(4)}.tar")
    try:
        run(["nice", "-n", "19", *_bootstrap(layer)], error=BuildError)
        path = {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin"}
        oci.archive(
            NAME, layer, target, command=[f"/usr/local/bin/{ENTRY.name}"], user=f"{USER}:{USER}", env=path
        )
    finally:
        layer.unlink(missing_ok=True)
    return target


def _bootstrap(layer: Path) -> list[str]:
    hooks = [f"--essential-hook={NO_CLUSTER}", f"--customize-hook={OWN_USER}"]
    hooks += [f"--customize-hook=copy-in {ENTRY} /usr/local/bin"]
    hooks += [f'--customize-hook=chmod 755 "$1/usr/local/bin/{ENTRY.name}"']
    packages = f"--include=postgresql-{VERSION}"
    return ["mmdebstrap", "--quiet", "--variant=minbase", packages, *hooks, "bookworm", str(layer)]
