"""What a schedule tells: from its outbox into the store's list of messages, once."""

import hashlib

from tidegate.infra.notifications.channels import Message
from tidegate.pipelines.driver.notifications import keep
from tidegate.pipelines.experiment.notify import Notification
from tidegate.pipelines.scheduling.document import ScheduleState, Told, update
from tidegate.pipelines.state.home import Home


def hand_over(home: Home, state: ScheduleState, notify: list[Notification]) -> bool:
    """Put what is to be told where `deliver` finds it; return whether there was anything.

    Killed in between, it is put there again under the same id.
    """
    if not state.outbox:
        return False
    for told in state.outbox:
        keep(home, notify, message(told))
    done = set(map(message_id, state.outbox))

    def emptied(known: ScheduleState) -> ScheduleState:
        left = tuple(told for told in known.outbox if message_id(told) not in done)
        return known.model_copy(update={"outbox": left})

    update(home.store, state.name, emptied)
    return True


def message(told: Told) -> Message:
    """A message to people and programs."""
    lines = [f"{key}: {value}" for key, value in told.facts.items() if value not in (None, "")]
    return Message(
        id=message_id(told),
        event=told.event,
        time=told.moment,
        title=told.title,
        text="\n".join(lines),
        facts=told.facts,
    )


def message_id(told: Told) -> str:
    """The same for the same event."""
    return hashlib.sha256(f"{told.event} {told.title} {told.moment}".encode()).hexdigest()[:32]
