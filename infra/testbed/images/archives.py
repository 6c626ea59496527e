"""The testbed's own images, kept in the cache as OCI archives: pause, the S3 server, the base of ours."""

import platform
import secrets
from pathlib import Path

from tidegate.infra.testbed.host.errors import BuildError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run
from tidegate.infra.testbed.images import build, oci

PAUSE = "localhost/pause:1"
S3 = "localhost/versitygw:1"
BASE = "localhost/base:1"
NOBODY = "65535:65535"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"


def of_binary(layout: Layout, name: str, image: str) -> Path:
    """Return the archive of an image that holds one static binary and nothing else."""
    program = build.binary(layout.cache, name)
    target = layout.cache / "images" / f"{program.parent.name}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        layer = target.with_name(f".layer-{target.name}")
        try:
            oci.archive(image, oci.layer_of(program, layer), target, command=[f"/{name}"], user=NOBODY)
        finally:
            layer.unlink(missing_ok=True)
    return target


def base(layout: Layout) -> Path:
    """Return the archive of the base image: Debian's smallest with Python, as our Dockerfiles expect it.

    Made by mmdebstrap on first use (20-30 s); the testbed's stand-in for the public `python:3.11-slim`.
    """
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "bookworm")
    target = layout.cache / "images" / f"base-2-{release}-{platform.machine()}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        layer = target.with_name(f".layer-{secrets.token_hex(4)}.tar")
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={BASE_PACKAGES}",
            release,
            str(layer),
        ]
        try:
            run(["nice", "-n", "19", *command], error=BuildError)
            path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
            oci.archive(BASE, layer, target, command=["/bin/sh"], env=path)
        finally:
            layer.unlink(missing_ok=True)
    return target


def load(layout: Layout, archive: Path) -> None:
    """Import an OCI archive (`buildah push NAME oci-archive:FILE:NAME` writes one) into the node."""
    run([*_ctr(layout), "images", "import", str(archive)])


def loaded(layout: Layout) -> set[str]:
    """Return the names of the node's images."""
    return set(run([*_ctr(layout), "images", "ls", "-q"]).split())


def alias(layout: Layout, name: str, other: str) -> None:
    """Give an image of the node another name, which may have been another image's."""
    run([*_ctr(layout), "images", "tag", "--force", name, other])


def digest(layout: Layout, name: str) -> str:
    """Return the digest of an image's manifest."""
    for line in run([*_ctr(layout), "images", "ls", f"name=={name}"]).splitlines()[1:]:
        return line.split()[2]
    raise BuildError(f"the node has no image {name}; load it first")


def content(layout: Layout, digest: str) -> str:
    """Return a document of the node's images by its digest."""
    return run([*_ctr(layout), "content", "get", digest])


def _ctr(layout: Layout) -> list[str]:
    return ["ctr", "--address", str(layout.containerd), "--namespace", "k8s.io"]
