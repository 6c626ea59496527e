"""promote: give the verified release the endpoint's traffic and move the release pointer."""

from tidegate.infra.errors import ConflictError
from tidegate.pipelines.errors import ChampionChangedError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.history.actors import on_behalf
from tidegate.pipelines.history.record import new_event, settle_endpoint
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.hosting.base import Stage
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.release import PromoteInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.serving.deployment.event import Event
from tidegate.serving.deployment.release import EndpointState, keep_newest, load, update


class Promoted(StepPart):
    """The live release, its URL, and the stages of its canary."""

    release: int
    url: str
    canary: tuple[Stage, ...] = ()


def run(inputs: PromoteInputs, context: StepContext) -> Promoted:
    """Give the release the traffic.

    Raises:
        ChampionChangedError: another run was promoted since the gate compared; it must compare again.
        CanaryError: it did worse than the champion on a share of the traffic and was rolled back.
        PortTakenError: another program has the endpoint's port.
    """
    place, store, event = hosting(context.home), context.home.store, _event(inputs, context)
    try:
        with place.lock(inputs.endpoint, inputs.run):
            _require_same_champion(load(store, inputs.endpoint), inputs)
            live = place.go_live(inputs.endpoint, inputs.release, try_canary=True, event=event)
            forgotten = _forget_old(context, inputs)
    finally:  # a canary that did worse is told too
        settle_endpoint(store, inputs.endpoint)
    url = place.url(live.state)
    print(f"release {inputs.release} is live at {url}")
    if forgotten:
        print(f"forgotten, as serving.keep says: release {', '.join(map(str, forgotten))}")
    return Promoted(release=inputs.release, url=url, canary=live.stages)


def _forget_old(context: StepContext, inputs: PromoteInputs) -> list[int]:
    """Forget the oldest releases where the experiment says how many stay; their numbers."""
    store, before = context.home.store, load(context.home.store, inputs.endpoint)
    keep = Serving.model_validate(before.release(inputs.release).serving).keep
    if keep is None:
        return []
    after = update(store, inputs.endpoint, lambda state: keep_newest(state, keep), ConflictError)
    return sorted({known.number for known in before.releases} - {known.number for known in after.releases})


def _event(inputs: PromoteInputs, context: StepContext) -> Event:
    """What the history says: whoever asked for the run releases it; whoever runs this, where no record says who."""
    asked = context.folder.record() if (context.folder.path / "run.json").is_file() else None
    cause = {"cause": asked.cause} if asked and asked.cause else {}
    return new_event(
        context.home,
        "released",
        endpoint=inputs.endpoint,
        run=inputs.run,
        reason=asked.message if asked else "",
        actor=on_behalf(asked.by if asked else None, context.home),
        **cause,
    )


def _require_same_champion(state: EndpointState, inputs: PromoteInputs) -> None:
    if state.current is None or state.current == inputs.release:
        return
    current = state.release(state.current)
    if current.bundle != inputs.champion and current.run != inputs.run:
        raise ChampionChangedError(
            f"release {current.number} (run {current.run}) became the champion of {inputs.endpoint} meanwhile"
        )
