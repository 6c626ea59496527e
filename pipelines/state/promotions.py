"""Promotions that are underway: what a target is to be given, as a document of its store until it is there."""

import time

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.store import Store
from tidegate.pipelines.state.documents import replace
from tidegate.serving.deployment.event import Actor
from tidegate.serving.deployment.origin import Origin
from tidegate.serving.deployment.release import Release

KEYS = "promotions/"
KEPT_S = 7 * 86400.0  # what was begun and not ended for so long, nobody repeats


class Promotion(BaseModel):
    """One release of another target, on its way to this one.

    Attributes:
        id: the same for the same release of the same target.
        key: of the release that it makes here, see `reserve`.
        release: as it stands at the other target.
        origin: what the release here says of that.
        champion: digest of the bundle that was live here when it was asked for; None: there was none.
        by: who asked.
        reason: why.
        created: when, seconds since the epoch.
    """

    model_config = ConfigDict(defer_build=True, frozen=True)

    id: str
    key: str
    release: Release
    origin: Origin
    champion: str | None
    by: Actor
    reason: str
    created: float

    @property
    def endpoint(self) -> str:
        """Its name, the same at both targets."""
        return self.release.endpoint


def find_promotion(store: Store, number: str) -> Promotion | None:
    """The promotion of an id, or None."""
    found = store.read(_key(number))
    return None if found is None else Promotion.model_validate_json(found[0])


def keep_promotion(store: Store, promotion: Promotion) -> None:
    """Write it down, in place of an earlier attempt."""
    replace(store, _key(promotion.id), promotion.model_dump_json(indent=1).encode())


def forget_promotion(store: Store, promotion: Promotion) -> None:
    """It has ended, or will not be repeated; what another command has written in its place stays."""
    found = find_promotion(store, promotion.id)
    if found is not None and found.created == promotion.created:
        store.delete(_key(promotion.id))


def bundles_underway(store: Store) -> set[str]:
    """Digests of the bundles that are on their way; promotions that were given up long ago are forgotten."""
    needed = set[str]()
    for key, (content, _) in store.read_many(store.keys(KEYS)).items():
        try:
            promotion = Promotion.model_validate_json(content)
        except ValidationError:  # of a later version, which knows what it needs
            continue
        if time.time() - promotion.created > KEPT_S:
            store.delete(key)
        else:
            needed.add(promotion.release.bundle)
    return needed


def _key(number: str) -> str:
    return f"{KEYS}{number}.json"
