"""What a plan knows of a project: plain values, which a plan without one imports too."""

import hashlib
import json
from dataclasses import asdict, dataclass, field

from tidegate.infra.store import Ref

SERVED = "endpoint"  # what the transform reaches, beside the steps' closures


@dataclass(frozen=True)
class Pin:
    """One distribution: its version, and SHA-256 digests of its wheels as `sha256:HEX`."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """What a project needs beside what is installed; none where everything is there.

    Attributes:
        pins: distributions with version and hashes, sorted by name.
    """

    pins: tuple[Pin, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the pins; "" without any."""
        text = json.dumps([asdict(pin) for pin in self.pins])
        return hashlib.sha256(text.encode()).hexdigest() if self.pins else ""

    @property
    def versions(self) -> dict[str, str]:
        """Version by name."""
        return {pin.name: pin.version for pin in self.pins}


@dataclass(frozen=True)
class Reach:
    """What a step reaches of the project.

    Attributes:
        files: path in the project -> SHA-256.
        packages: distribution -> version, of what these files import.
        ours: modules of this program that they import.
    """

    files: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    ours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """An experiment's project.

    Attributes:
        folder: its path.
        snapshot: all its files, as they will be stored.
        roots: folders that imports start from, relative to it.
        model: the model's file in it, or its reference, or "".
        transform: the reference of the transform, or "".
        reach: step, or SERVED -> what it reaches.
        env: variables of the environment.
        lock: what it needs beside what is installed.
        files: names of the snapshot's files.
        left_out: a file or folder/ that is no part of the snapshot -> the module that it would hide from libraries.
    """

    folder: str
    snapshot: Ref
    roots: tuple[str, ...]
    model: str
    transform: str
    reach: dict[str, Reach]
    env: dict[str, str] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    files: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    def of(self, step: str) -> Reach:
        """What a step reaches; nothing where no reference of its own is given."""
        return self.reach.get(step, Reach())
