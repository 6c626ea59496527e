"""Where endpoints live. `hosting(home)` returns the place for the home's target; everything else goes through it."""

from functools import partial

from tidegate.infra.errors import ConflictError
from tidegate.pipelines.hosting.base import Hosting
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState, fail, load, update


def hosting(home: Home) -> Hosting:
    """The place where the endpoints of a home live."""
    if home.target is None:
        from tidegate.pipelines.hosting.local import LocalHosting

        return LocalHosting(home)
    from tidegate.pipelines.hosting.kubernetes import KubernetesHosting

    return KubernetesHosting(home)


def abandon(home: Home, run: str, name: str) -> None:
    """Stop the servers of the releases that a run, or a promotion from another target, reserved but did not make live,
    and mark these releases failed.
    """
    if all(release.driver != run for release in load(home.store, name).releases):
        return
    place = hosting(home)
    with place.lock(name, run):
        state = load(home.store, name)
        for release in state.releases:
            if release.driver == run and release.state == "pending":
                place.stop(state, release.number)
                state = update(home.store, name, partial(fail, number=release.number), ConflictError)
        place.retire_others(state)


def ensure_live(home: Home, name: str) -> EndpointState | None:
    """Restart the live release's servers if they are gone (a reboot, `down`); None if there is no live release."""
    state, place = load(home.store, name), hosting(home)
    if state.current is None:
        return None
    if not place.answers(state):
        with place.lock(name, ""):
            state = place.go_live(name, load(home.store, name).current or state.current).state
    return state
