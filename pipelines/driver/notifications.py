"""Tells people how a run ended. A run never waits long for it, and nothing that is to be told is lost.

What is to be told is first written to the store. It is tried for a few seconds at once, and what was not taken stays
there for whoever drives the next run.
"""

import hashlib
import time
from contextlib import suppress
from threading import Thread
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.infra.errors import ConflictError, InfraError, NotificationError
from tidegate.infra.notifications.channels import TIMEOUT_S, Message, check, send
from tidegate.infra.store import Store
from tidegate.infra.system.backoff import pauses
from tidegate.infra.system.locks import lock
from tidegate.models.errors import UserCodeError
from tidegate.models.user_code.secrets import read_secret
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.notify import Channel, Event, Notification
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.state.home import Home, RunRecord

KEYS, LOCK = "notifications/", "notifications.lock"
PATIENCE_S = 10.0  # that the end of a run waits for channels that do not answer
KEEP_S = 7 * 24 * 3600.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 4.0
EVENTS: dict[str, Event] = {
    "done": "released",
    "refused": "refused",
    "failed": "failed",
    "cancelled": "cancelled",
    "waiting": "waiting",
}


class Teller:
    """Tells how one run ended, in a thread beside the rest of its end.

    Args:
        home: the home.
        notify: who is told.
    """

    def __init__(self, home: Home, notify: list[Notification]) -> None:
        self._home, self._notify = home, notify
        self._facts: dict[str, Any] = {}
        self._problems: list[str] = []
        self._thread = Thread(target=self._deliver, name="notify", daemon=True)

    def learn(self, step: str, outputs: dict[str, Any]) -> None:
        """A step is done: what of it is told."""
        if step == "select":
            self._facts |= {"metric": outputs["metric"], "value": outputs["metrics"].get(outputs["metric"])}
        elif step == "promote":
            self._facts |= {"release": outputs["release"], "url": outputs["url"]}

    def tell(self, record: RunRecord) -> None:
        """The run has ended: write down what is to be told, and begin to send it."""
        message = end_message(record, self._facts)
        if message is None:
            return
        try:
            keep(self._home, self._notify, message)
        except InfraError as error:
            self._problems.append(f"nobody was told that {message.title}: {error}")
        self._thread.start()

    def close(self) -> list[str]:
        """Wait for what is being sent, not for long; a sentence for each message that was not taken."""
        if self._thread.is_alive():
            self._thread.join(PATIENCE_S + 2 * TIMEOUT_S)
        if self._thread.is_alive():
            self._problems.append("not everybody was told in time; the next run tries again")
        return self._problems

    def _deliver(self) -> None:
        self._problems += deliver(self._home)


class Pending(BaseModel):
    """A message that was not taken yet."""

    model_config = ConfigDict(frozen=True)
    to: Channel
    secret: str
    message: Message


def check_notify(experiment: Experiment, home: Home) -> None:
    """Raise ExperimentError if a secret of `notify` is missing or lacks a variable; on a cluster its driver sees."""
    for place, entry in enumerate(experiment.notify if home.target is None else ()):
        try:
            check(entry.to, read_secret(home.path, entry.secret, f"notify.{place}.secret"))
        except UserCodeError as error:
            raise ExperimentError(str(error)) from error
        except NotificationError as error:
            raise ExperimentError(f"notify.{place}.secret: {entry.secret}: {error}") from error


def notify_of(record: RunRecord) -> list[Notification]:
    """Whom a run's experiment names; nobody in a run of an earlier version."""
    return [Notification.model_validate(entry) for entry in record.experiment.get("notify") or ()]


def end_message(record: RunRecord, facts: dict[str, Any]) -> Message | None:
    """What is told of a run that ended; None while it has not.

    Args:
        record: of the run.
        facts: more about it, such as the release.
    """
    event = EVENTS.get(record.status)
    return None if event is None else message_of(event, record, record.finished or record.asked or 0.0, facts)


def message_of(event: Event, record: RunRecord, when: float, facts: dict[str, Any]) -> Message:
    """A message about a run, or about the endpoint that serves it."""
    about = {"run": record.run, "experiment": record.name, "endpoint": record.endpoint, **facts}
    if record.reason and event != "rolled_back":
        about["reason"] = record.reason
    title = {
        "released": f"{record.run} is released at endpoint {record.endpoint}",
        "refused": f"{record.run} was refused by its gate; {record.endpoint} stays as it was",
        "failed": f"{record.run} failed",
        "cancelled": f"{record.run} was cancelled",
        "rolled_back": f"{record.endpoint} was rolled back to {record.run}",
        "waiting": f"{record.run} waits for an approval to be released at endpoint {record.endpoint}",
    }[event]
    lines = [f"{key}: {value}" for key, value in about.items() if value not in (None, "")]
    digest = hashlib.sha256(f"{event} {record.run} {when}".encode()).hexdigest()[:32]
    return Message(id=digest, event=event, time=when, title=title, text="\n".join(lines), facts=about)


def keep(home: Home, notify: list[Notification], message: Message) -> None:
    """Write what is to be told to the store, once for each channel that asks for this event."""
    for place, entry in enumerate(notify):
        if message.event in entry.on:
            pending = Pending(to=entry.to, secret=entry.secret, message=message)
            with suppress(ConflictError):  # it was written before
                home.store.write(f"{KEYS}{message.id}-{place}.json", pending.model_dump_json().encode(), None)


def deliver(home: Home, patience_s: float = PATIENCE_S) -> list[str]:
    """Send what waits in the store, the newest first, for a limited time; what is not taken stays there for a week.

    Args:
        home: the home, of which one process sends at a time.
        patience_s: after so many seconds nothing more is begun.

    Returns:
        A sentence for each message that was not sent.
    """
    until = time.monotonic() + patience_s
    try:
        with lock(home.path / LOCK, timeout=patience_s):
            return _deliver(home, until)
    except InfraError:  # another process is sending, or the home's disk is gone, which the run itself tells
        return []


def waiting_secrets(store: Store) -> list[str]:
    """The secrets of the channels for which something waits in the store, sorted."""
    secrets = set()
    for content, _ in store.read_many(store.keys(KEYS)).values():
        with suppress(ValidationError):  # of another version, which has to send it
            secrets.add(Pending.model_validate_json(content).secret)
    return sorted(secrets)


def _deliver(home: Home, until: float) -> list[str]:
    left, problems = _pending(home)
    waits = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    while left:
        for key, pending in list(left.items()):
            if time.monotonic() > until:
                problems.setdefault(key, _problem(pending, "there was no time left"))
                continue
            problem = _try(home, pending)
            if problem is None or time.time() - pending.message.time > KEEP_S:
                with suppress(InfraError):  # sent once more by the next run
                    home.store.delete(key)
            problems[key] = "" if problem is None else _problem(pending, str(problem))
            if problem is None or not problem.again:
                del left[key]
        pause = next(waits)
        if not left or time.monotonic() + pause > until:
            break
        time.sleep(pause)
    return [problem for problem in problems.values() if problem]


def _try(home: Home, pending: Pending) -> NotificationError | None:
    try:
        variables = read_secret(home.path, pending.secret, "notify")
        send(pending.to, variables, pending.message)
    except NotificationError as error:
        return error
    except UserCodeError as error:
        return NotificationError(str(error))
    except Exception as error:  # one message must not keep others from being sent
        return NotificationError(f"unexpected {type(error).__name__}")
    return None


def _problem(pending: Pending, words: str) -> str:
    return f"{pending.to} was not told that {pending.message.title}: {words}; the next run tries again"


def _pending(home: Home) -> tuple[dict[str, Pending], dict[str, str]]:
    """What waits, the newest first, and a sentence for each document that this version does not know."""
    found, problems = {}, {}
    try:
        documents = home.store.read_many(home.store.keys(KEYS))
    except InfraError:  # the run itself tells that its store is gone
        return {}, {}
    for key, (content, _) in documents.items():
        try:
            found[key] = Pending.model_validate_json(content)
        except ValidationError:
            problems[key] = (
                f"{key} in the store is a message of another version of Tidegate, which has to send it"
            )
    return dict(sorted(found.items(), key=lambda item: -item[1].message.time)), problems
