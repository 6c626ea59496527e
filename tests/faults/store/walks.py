"""`python -m tests.faults.store.walks HOME URL COUNT FAULTS REPORT`: submits, at one call of the store a fault in each.

Every submit is the whole walk of a smallest `wine` run, in this one process; after it the same submit again, without a
fault. `URL` is that of a store in a bucket, whose folder is the home's too, or "-". `COUNT` calls are chosen, 0: all;
`$TIDEGATE_CHAOS_CALLS` may say among which, by a pattern such as `write endpoints/`; else the first submit of the home
meets a fault too. `REPORT` gets a line of JSON for each, with what was wrong.
"""

import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from tests.faults.store.faults import CALLS, PATH, SAID, SEED, Faults, at
from tests.faults.store.faulty_store import FaultyStore
from tests.faults.store.invariants import after_a_failure, after_the_next, known_runs
from tidegate.infra.store import FolderStore, Store
from tidegate.infra.store.s3_store import S3Store
from tidegate.pipelines.commands.submit import submit
from tidegate.pipelines.errors import OURS, error_message
from tidegate.pipelines.state import home as home_module
from tidegate.pipelines.state.home import Home

GATE = "gate={metric: test_accuracy, minimum: 0.0, improve_on_champion: null}"
QUICK = ("model={family: linear}", "training.epochs=1", GATE)
CHANGES = re.compile("write|put|delete|remove")
FIRST = 150  # the first submit of a home has no fewer calls
LONGEST_S = 300.0  # of a submit, on a machine that does much else too


class Walks:
    """The submits of one home, and what they were asked to meet."""

    def __init__(self, path: Path, url: str | None) -> None:
        self.path = path
        self._bucket = S3Store(url, cache=path / "cache") if url else None
        self.faults = Faults(lambda _: None)
        home_module.open_store = self._open

    def _open(self, *_: Any, **__: Any) -> Store:
        store = self._bucket or FolderStore(self.path / "store")
        return cast(Store, FaultyStore(store, self.faults))

    def _submit(self, number: int, faults: Faults) -> dict[str, Any]:
        self.faults = faults
        overrides = [*QUICK, f"data.split.seed={number}"]  # no step is finished before
        return submit(Home(self.path), "wine", overrides, detach=False, executor="inline").data

    def clean(self, number: int) -> dict[str, Any]:
        """A submit without a fault."""
        return self._submit(number, Faults(lambda _: None))

    def faulty(self, number: int, faults: Faults) -> dict[str, Any]:
        """A submit with a fault, and the same again without; what was wrong, in sentences."""
        before, began = known_runs(self.path), time.monotonic()
        problems, error = [], None
        try:
            self._submit(number, faults)
        except Exception as raised:
            error = raised
            if not isinstance(raised, OURS) or SAID not in str(raised):
                problems.append(f"said instead of what went wrong: {error_message(raised)}")
        seconds = time.monotonic() - began
        if seconds > LONGEST_S:
            problems.append(f"it took {seconds:.0f} s")
        down = any(one.fault == "down" for one in faults.met)
        new = known_runs(self.path) - before
        problems += after_a_failure(self.path, new, failed=error is not None, down=down)
        try:
            problems += after_the_next(self.path, self.clean(number))
        except Exception as raised:
            problems.append(f"the same submit again: {error_message(raised)}")
        if self._bucket is not None:
            found = self._bucket.bucket.client.list_multipart_uploads(Bucket=self._bucket.bucket.name)
            problems += [f"an upload is left: {one['Key']}" for one in found.get("Uploads", ())]
        met = [str(one) for one in faults.met]
        return {"met": met, "failed": error is not None, "seconds": seconds, "problems": problems}


def chosen(calls: list[str], count: int, faults: list[str]) -> Iterator[tuple[int, str]]:
    """Which calls of a walk meet which fault: each meets one if the count is 0, else half of them change something."""
    wanted = re.compile(os.environ.get(CALLS, ""))
    every = [number for number, call in enumerate(calls, 1) if wanted.match(call)]
    dice = random.Random(f"{SEED} walks")
    if count == 0:
        yield from ((number, dice.choice(faults)) for number in every)
        return
    changes = [number for number in every if CHANGES.match(calls[number - 1])]
    half = dice.sample(changes, min(count // 2, len(changes)))
    rest = [number for number in every if number not in half]
    found = half + dice.sample(rest, min(count - len(half), len(rest)))
    yield from ((number, faults[place % len(faults)]) for place, number in enumerate(found))


def main(words: list[str]) -> None:
    """Walk, and report each."""
    home, url, count, faults, report = words
    os.environ["PYTHONPATH"] = os.environ.pop(PATH, "")
    if not os.environ["PYTHONPATH"]:
        del os.environ["PYTHONPATH"]
    walks = Walks(Path(home), None if url == "-" else url)
    kinds = faults.split(",")
    first = random.Random(f"{SEED} first").randrange(1, FIRST)
    with Path(report).open("w", buffering=1) as file:

        def told(number: int, walk: Callable[[], dict[str, Any]]) -> None:
            file.write(json.dumps({"walk": number, **walk()}) + "\n")

        if os.environ.get(CALLS):
            walks.clean(1)  # the first one of a home has other calls
        else:
            told(0, partial(walks.faulty, 1, at(first, kinds[0])))
        walks.clean(2)
        for place, (call, fault) in enumerate(chosen(walks.faults.calls, int(count), kinds)):
            told(place + 1, partial(walks.faulty, place + 3, at(call, fault)))


if __name__ == "__main__":
    main(sys.argv[1:])
