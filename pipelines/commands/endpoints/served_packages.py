"""The packages that an ejected release needs: the server's, the runtime's, and those of the project's code."""

from collections.abc import Iterator

from tidegate.serving.bundle.bento import requirements
from tidegate.serving.bundle.bundle import Bundle
from tidegate.serving.bundle.own_packages import own_packages

NEEDED = ("numpy", "pillow", "pydantic", "starlette", "uvicorn")


def packages_of(bundle: Bundle) -> Iterator[str]:
    """The pinned packages of the server, the runtime and the project's own code."""
    yield from requirements(bundle.manifest.runtime, NEEDED)
    own = own_packages(bundle)
    yield from (f"{package}=={own[package]}" for package in own if package not in NEEDED)
