"""Clients of an endpoint's release pointer, whose calls are noted: `python -m tests.faults.store.pointer FOLDER …`."""

import json
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.faults.store.faults import SEED
from tests.faults.store.histories import NEVER, Call
from tidegate.infra.errors import ConflictError, StoreError
from tidegate.infra.store import FolderStore, Store
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.deployment.event import Actor, Event, new_id
from tidegate.serving.deployment.release import EndpointState, load, promote, reserve, update

NAME = "wine"
RELEASES = 6
SOMEBODY = Actor(user="tester", host="here")


def with_releases(store: Store) -> None:
    """An endpoint with releases, of which the first is live."""

    def change(state: EndpointState) -> EndpointState:
        for number in range(RELEASES):
            parity = Parity(max_abs_difference=0.0, tolerance=1e-5, rows=1)
            facts = {"run": "r", "trial": "t", "key": str(number), "bundle": "b", "bento": "b"}
            state = reserve(state, **facts, runtime="onnx", parity=parity)
        return promote(state, 1)

    update(store, NAME, change, ConflictError)


def promoted(store: Store, number: int) -> int | None:
    """Promote a release as a run does; which one was live before."""
    event = Event(id=new_id(), kind="released", time="", actor=SOMEBODY)
    state = update(store, NAME, lambda known: promote(known, number, event), ConflictError)
    own = next((one for one in state.events if one.id == event.id), None)
    before: int | None = number if own is None else own.facts["before"]  # it was live already
    return before


def calls_of(store: Store, client: int, count: int) -> list[Call]:
    """What a client sees: of three, two promote and one reads."""
    dice, calls = random.Random(f"{SEED} client {client}"), list[Call]()
    for _ in range(count):
        value = None if client % 3 == 2 else dice.randrange(1, RELEASES + 1)
        answer, began, ended = None, time.monotonic_ns(), NEVER
        try:
            answer = load(store, NAME).current if value is None else promoted(store, value)
            ended = time.monotonic_ns()
        except StoreError:  # whether it was done is not known
            pass
        calls.append(Call("read" if value is None else "swap", began, ended, answer, value))
    return calls


def main(folder: str, client: str, count: str) -> None:
    """Be a client of a folder, from when a line comes; print the calls."""
    print("ready", flush=True)
    sys.stdin.readline()
    calls = calls_of(FolderStore(Path(folder)), int(client), int(count))
    print(json.dumps([asdict(call) for call in calls]))


if __name__ == "__main__":
    main(*sys.argv[1:])
