"""Reserve a release and start its servers; give it the traffic."""

from dataclasses import dataclass
from typing import Any

from tidegate.infra.errors import ConflictError
from tidegate.pipelines.errors import ChampionChangedError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.history.record import settle_endpoint
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.hosting.base import Live
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.release import EndpointState, Release, keep_newest, load, reserve, update


@dataclass(frozen=True)
class WentLive:
    """A release that has the traffic, its URL, and the numbers of those that `serving.keep` forgot."""

    live: Live
    url: str
    forgotten: list[int]


def deploy(
    home: Home, endpoint: str, driver: str, key: str, serving: Serving, **facts: Any
) -> tuple[EndpointState, Release]:
    """Reserve a release and start its servers; it gets no traffic yet.

    Args:
        home: of the endpoint.
        endpoint: its name.
        driver: id of what drives the release until it is live.
        key: identifies the request for it: the same one does not make another release.
        serving: how it is served.
        facts: more of the release, see `reserve`.

    Raises:
        PortTakenError: another program listens on the endpoint's port.
        ServerStartError: the servers did not become ready.
    """
    place = hosting(home)
    with place.lock(endpoint, driver):
        port = place.choose_port(load(home.store, endpoint), serving.port)
        known = {"key": key, "serving": serving.model_dump(mode="json"), **place.facts(endpoint), **facts}

        def change(state: EndpointState) -> EndpointState:
            return reserve(state.model_copy(update={"port": port}), **known)

        state = update(home.store, endpoint, change, ConflictError)
        release = state.find(key)
        assert release is not None
        place.start(state, release)
    print(f"release {release.number} of {endpoint} is ready and has no traffic yet")
    return state, release


def go_live(home: Home, endpoint: str, number: int, champion: str | None, event: Event) -> WentLive:
    """Give a release the traffic.

    Args:
        home: of the endpoint.
        endpoint: its name.
        number: the release's.
        champion: digest of the bundle that was live when this one was chosen to follow it; None: there was none.
        event: what the history says of it.

    Raises:
        ChampionChangedError: another one is live meanwhile.
        CanaryError: it did worse than the champion on a share of the traffic and was rolled back.
        PortTakenError: another program has the endpoint's port.
    """
    place, store = hosting(home), home.store
    release = load(store, endpoint).release(number)
    try:
        with place.lock(endpoint, release.driver):
            _require_same_champion(load(store, endpoint), release, champion)
            live = place.go_live(endpoint, number, try_canary=True, event=event)
            forgotten = _forget_old(home, endpoint, number)
    finally:  # a canary that did worse is told too
        settle_endpoint(store, endpoint)
    url = place.url(live.state)
    print(f"release {number} is live at {url}")
    if forgotten:
        print(f"forgotten, as serving.keep says: release {', '.join(map(str, forgotten))}")
    return WentLive(live, url, forgotten)


def _forget_old(home: Home, endpoint: str, number: int) -> list[int]:
    """Forget the oldest releases where the experiment says how many stay; their numbers."""
    before = load(home.store, endpoint)
    keep = Serving.model_validate(before.release(number).serving).keep
    if keep is None:
        return []
    after = update(home.store, endpoint, lambda state: keep_newest(state, keep), ConflictError)
    return sorted({known.number for known in before.releases} - {known.number for known in after.releases})


def _require_same_champion(state: EndpointState, release: Release, champion: str | None) -> None:
    if state.current is None or state.current == release.number:
        return
    current = state.release(state.current)
    if current.bundle != champion and current.driver != release.driver:
        raise ChampionChangedError(
            f"release {current.number} (run {current.run}) became the champion of {state.name} meanwhile"
        )
