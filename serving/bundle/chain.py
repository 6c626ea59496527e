"""Where a bundle comes from, as its `chain.json` says: data, code, lock, weights, parity, gate, each by its SHA-256.

A bundle's digest covers this file, and the signature of a release covers both. It has no times, so that the same
training packaged twice is the same bundle.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.serving.bundle.manifest import Manifest
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.errors import BundleError

FIX = "build the bundle again: submit the experiment"


class Link(BaseModel):
    """A part of the chain; what a later version adds is passed over."""

    model_config = ConfigDict(defer_build=True, frozen=True)


class DataLink(Link):
    """The data: `source` as it was read, the files of `data.split` by part, and what `prepare` made of it by name."""

    source: str
    parts: dict[str, str] = {}
    prepared: dict[str, str]


class CodeLink(Link):
    """The code: of ours that each step ran, by step, and the user's `project`; "" where there is none."""

    steps: dict[str, str]
    project: str = ""


class LockLink(Link):
    """The libraries: `versions` of each step's own, and the digest of the `project`'s lock; "" where there is none."""

    versions: dict[str, dict[str, str]]
    project: str = ""


class ParityLink(Link):
    """How far the served model is from the trained one, what says so, and its rows beyond the held-out ones."""

    measured: Parity
    proof: Literal["training", "answers", "none"]
    probes: int = 0
    passed: bool


class GateLink(Link):
    """What the gate asked, and what it found.

    Attributes:
        criteria: as the experiment states them, or "none".
        metric: the first one's.
        metrics: the winner's on the test rows.
        champion: digest of the bundle that it was compared with; None: there was none.
        passed: whether nothing spoke against it.
    """

    criteria: Any
    metric: str
    metrics: dict[str, float]
    champion: str | None
    passed: bool


class Chain(Link):
    """The whole chain.

    Attributes:
        run, endpoint, trial: of the bundle.
        experiment: of the experiment's content.
        steps: step -> the key of its result.
        weights: file -> digest, of the trained model and its exports.
    """

    format: Literal[1] = 1
    run: str
    endpoint: str
    trial: str
    experiment: str
    steps: dict[str, str]
    data: DataLink
    code: CodeLink
    lock: LockLink
    weights: dict[str, str]
    parity: ParityLink | None = None
    gate: GateLink | None = None


def read_chain(content: bytes) -> Chain:
    """The chain in a bundle's file; raises BundleError when it is none."""
    try:
        return Chain.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"the bundle's chain.json is none: {where}: {first['msg']}; {FIX}") from error


def check_chain(chain: Chain, manifest: Manifest, served: str) -> None:
    """Refuse a bundle whose chain does not lead to it through parity and gate.

    Args:
        chain: the bundle's.
        manifest: the bundle's.
        served: digest of its model file.

    Raises:
        BundleError: a link is missing, did not hold, or belongs to another bundle.
    """
    about: Mapping[str, tuple[Any, Any]] = {
        "run": (chain.run, manifest.run),
        "trial": (chain.trial, manifest.trial),
        "endpoint": (chain.endpoint, manifest.name),
    }
    for name, (said, actual) in about.items():
        if said != actual:
            raise BundleError(f"the chain is of {name} {said!r}; expected the bundle's, {actual!r}; {FIX}")
    if chain.parity is None or not chain.parity.passed:
        state = "lacks parity" if chain.parity is None else "has a parity that was not reached"
        raise BundleError(
            f"the chain of run {chain.run} {state}; expected the served model proved equal; {FIX}"
        )
    if chain.parity.measured != manifest.parity:
        raise BundleError(
            f"the chain's parity is not the one of the bundle's manifest; expected the same; {FIX}"
        )
    if chain.gate is None or not chain.gate.passed:
        state = "lacks the gate" if chain.gate is None else "has a gate that was not passed"
        raise BundleError(f"the chain of run {chain.run} {state}; expected a candidate that passed it; {FIX}")
    if served not in chain.weights.values():
        raise BundleError(
            f"the served model's sha256 is {served}, which is none of the chain's weights; "
            f"expected one of {', '.join(sorted(chain.weights.values()))}; {FIX}"
        )
