"""Stages of our Dockerfile built by buildah, into the cache."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.infra.cluster.images import BUILD, ROOT
from tidegate.infra.testbed.host.errors import BuildError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.host.shell import run, run_unchecked
from tidegate.infra.testbed.images import archives as images

# The configuration of this machine's pip is mounted for RUN steps; it ends up in no layer.
BOUND = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
ENV = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}


def has(layout: Layout, image: str) -> bool:
    """Return whether buildah has an image of that name."""
    return bool(run_unchecked([*_buildah(layout), "images", "--quiet", "--no-trunc", image], env=_env()))


def build(layout: Layout, target: str, image: str, *, nice: int = 0, **arguments: str) -> None:
    """Build a stage of the Dockerfile.

    Intermediate steps are not cached: copies of gigabytes cost more than they save, and the caller sees from the
    image's name whether it must be built at all.

    Raises:
        BuildError: buildah failed; with the end of its output.
    """
    if not has(layout, images.BASE):
        run(
            [*_buildah(layout), "pull", "--quiet", f"oci-archive:{images.base(layout)}"],
            error=BuildError,
            env=_env(),
        )
    words = [*_buildah(layout), "build", "--layers=false", "--pull-never", "--network", "host"]
    words += ["--target", target, "--tag", image, "--file", f"{BUILD}/Dockerfile"]
    for key, value in {"BASE_IMAGE": images.BASE, **arguments}.items():
        words += ["--build-arg", f"{key}={value}"]
    for path in BOUND:
        if Path(path).exists():
            words += ["--volume", f"{path}:{path}:ro"]
    run(["nice", "-n", str(nice), *words, "."], cwd=ROOT, error=BuildError, env=_env())


def save(layout: Layout, image: str, target: Path) -> None:
    """Write an image as an archive with uncompressed layers, which is twice as fast as any other."""
    # A killed run may have left an incomplete archive, and buildah does not write to an existing one.
    target.unlink(missing_ok=True)
    run(
        [*_buildah(layout), "push", "--quiet", image, f"docker-archive:{target}:{image}"],
        error=BuildError,
        env=_env(),
    )


def keep_only(layout: Layout, image: str) -> None:
    """Remove the other tags of this image's name: gigabytes that nothing will use again."""
    name = image.rpartition(":")[0]
    listed = run([*_buildah(layout), "images", "--format", "{{.Name}}:{{.Tag}}"], env=_env()).split()
    for old in (one for one in listed if one.startswith(f"{name}:") and one != image):
        run_unchecked([*_buildah(layout), "rmi", old], env=_env())


@contextmanager
def mounted(layout: Layout, image: str) -> Iterator[Path]:
    """Mount an image and yield its root folder, for reading."""
    buildah = _buildah(layout)
    container = run([*buildah, "from", "--pull-never", image], error=BuildError, env=_env()).strip()
    try:
        yield Path(run([*buildah, "mount", container], error=BuildError, env=_env()).strip())
    finally:
        run([*buildah, "rm", container], error=BuildError, env=_env())


def _buildah(layout: Layout) -> list[str]:
    folder = layout.cache / "containers"
    return ["buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run")]


def _env() -> dict[str, str]:
    return {**os.environ, **ENV}
