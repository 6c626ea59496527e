"""Our images on the node: the installed packages are built and imported once, our code is one layer on top.

The layer is the `code` stage of our Dockerfile, so an image here equals the one that `make images` builds. After a
code edit, only that layer of a few megabytes is built and imported again.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tidegate.infra.cluster.images import BUILD, ROOT, TAG, image, tag
from tidegate.infra.system.locks import lock
from tidegate.infra.testbed.host.errors import BuildError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.images import builder, oci
from tidegate.infra.testbed.images.oci import Image

PREFIX = "localhost/tidegate"
ENVIRONMENT = "localhost/tidegate-environment"
CODE = "localhost/tidegate-code"
Say = Callable[[str], None]


def ensure(layout: Layout, names: Sequence[str], say: Say) -> list[str]:
    """Build the images of this checkout's code and import those that the node does not have.

    Args:
        layout: the layout of a testbed that is up.
        names: some of `cluster.images.NAMES`.
        say: called with a message before each long operation.

    Returns:
        The images' full names.

    Raises:
        BuildError: an image could not be built.
    """
    wanted = {image(PREFIX, name): name for name in names}
    missing = sorted(wanted.keys() - images.loaded(layout))
    if missing:
        images.base(layout)  # built here once, before two threads need it
        # Two at a time: buildah packs one while the node unpacks the other.
        with ThreadPoolExecutor(2) as pool:
            made = pool.map(lambda full: _environment(layout, wanted[full], say), missing)
            environments = dict(zip(missing, made, strict=True))
        with lock(layout.cache / "images.lock", error=BuildError):
            _assemble(layout, environments, say)
    return list(wanted)


def size(layout: Layout, full: str) -> int:
    """Return the bytes of an image's layers over its base, uncompressed."""
    return sum(layer["size"] for layer in _image(layout, full).layers[1:])  # the base is one layer


def _environment(layout: Layout, name: str, say: Say) -> str:
    """Make sure that the node has an image's environment, which is all but our code; return that image's name."""
    full = f"{ENVIRONMENT}/{name}:{_pinned(name)}"
    # One lock per image, so that a process whose image is ready does not wait for the build of another.
    with lock(layout.cache / f"environment-{name}.lock", error=BuildError):
        if full not in images.loaded(layout):
            _install(layout, name, full, say)
    return full


def _install(layout: Layout, name: str, full: str, say: Say) -> None:
    if not builder.has(layout, full):
        say(f"installing what {name} needs, once (minutes)")
        # The machine is shared, so minutes of pip get a low priority.
        builder.build(layout, "environment", full, nice=10, IMAGE=name)
    say(f"importing what {name} needs")
    archive = layout.cache / "images" / f".environment-{name}.tar"
    try:
        builder.save(layout, full, archive)
        images.load(layout, archive)
        builder.keep_only(layout, full)
    finally:
        archive.unlink(missing_ok=True)


def _pinned(name: str) -> str:
    build = ROOT / BUILD
    stages = (build / "Dockerfile").read_bytes().partition(b" AS code\n")[0]  # those before it install
    files = (build / "slim.py", build / "requirements" / f"{name}.txt")
    return hashlib.sha256(stages + b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _assemble(layout: Layout, environments: dict[str, str], say: Say) -> None:
    say(f"importing our code as {tag()}")
    folder = layout.cache / "images"
    layer, archive = folder / f".code-{tag()}.tar", folder / f".ours-{tag()}.tar"
    try:
        _code(layout, layer)
        made = [
            _image(layout, environment).extended(full, layer, {TAG: tag()})
            for full, environment in environments.items()
        ]
        oci.write(made, [layer], archive)
        images.load(layout, archive)
    finally:
        layer.unlink(missing_ok=True)
        archive.unlink(missing_ok=True)


def _code(layout: Layout, target: Path) -> None:
    """Write the layer of our code, byte-compiled by the base image's Python."""
    built = f"{CODE}:{tag()}"
    builder.build(layout, "code", built)
    builder.keep_only(layout, built)
    with builder.mounted(layout, built) as root, tarfile.open(target, "w") as tar:
        tar.add(root / "app", "app", filter=_anonymous)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def _image(layout: Layout, name: str) -> Image:
    """Read an image back from the node."""
    manifest = _content(layout, images.digest(layout, name))
    layers = [{**layer, "mediaType": oci.LAYER} for layer in manifest["layers"]]
    return Image(name, _content(layout, manifest["config"]["digest"]), layers)


def _content(layout: Layout, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(images.content(layout, digest))
    return found
