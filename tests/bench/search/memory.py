"""The memory of eight trials at once: forked, or each a fresh process."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
from pathlib import Path

import psutil

from tests.bench.search.runs import forget, search

AT_ONCE = 8
EPOCHS = 150  # long enough for all of them to learn at once
EVERY_S = 0.5


def row(folder: Path, turns: int) -> str:
    """The largest sum of PSS of the trials' processes and of the server that forked them."""
    forked, fresh = [], []
    for turn in range(turns):
        for values, server in ((forked, ""), (fresh, "0")):
            values.append(_peak(folder / f"memory-{turn}{server}", server))
    ratio = statistics.median(one / other for one, other in zip(forked, fresh, strict=True))
    mine, theirs = (statistics.median(values) / 1e6 for values in (forked, fresh))
    return (
        f"| PSS of {AT_ONCE} trials at once, with their server | {mine:.0f} MB | {AT_ONCE} fresh processes "
        f"{theirs:.0f} MB | {ratio:.2f}x | <= 0.5x |"
    )


def _peak(folder: Path, server: str) -> int:
    os.environ["TIDEGATE_FORK_SERVER"] = server
    ended, sums = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(EVERY_S):
            sums.append(sum(map(_pss, psutil.Process().children(recursive=True))))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        forget(
            search(
                folder,
                "digits-search",
                search__trials=AT_ONCE,
                search__parallelism=AT_ONCE,
                search__pruning=None,
                training__epochs=EPOCHS,
            )
        )
    finally:
        ended.set()
        thread.join()
        del os.environ["TIDEGATE_FORK_SERVER"]
    return max(sums)


def _pss(process: psutil.Process) -> int:
    """Bytes of a trial or of the server of trials; 0 of any other process."""
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline())
        trains = "forking.server" in words and '"name":"train"' in words
        if trains or ("executors.worker" in words and "--step train" in words):
            return int(process.memory_full_info().pss)
    return 0
