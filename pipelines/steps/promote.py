"""promote: give the verified release the endpoint's traffic and move the release pointer."""

from tidegate.pipelines.history.actors import on_behalf
from tidegate.pipelines.history.record import new_event
from tidegate.pipelines.hosting.base import Stage
from tidegate.pipelines.step_types.base import StepPart
from tidegate.pipelines.step_types.release import PromoteInputs
from tidegate.pipelines.steps.context import StepContext
from tidegate.pipelines.steps.releasing.deployment import go_live
from tidegate.serving.deployment.event import Event


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
    event = _event(inputs, context)
    done = go_live(context.home, inputs.endpoint, inputs.release, inputs.champion, event)
    return Promoted(release=inputs.release, url=done.url, canary=done.live.stages)


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
