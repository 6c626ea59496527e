"""`python -m tests.bench.timeline submit digits --home DIR`: the processes of one command, when each ran and its cost.

A line for each process that ran long enough to be seen: seconds from the command's start to its first and last moment,
its CPU seconds, and how busy it was: `.` idle, `-` below 30 % of a core, `=` below 70 %, `#` one core, `@` more.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "TIDEGATE_TIMELINE"
LOOK_S = 0.02
COLUMNS = 60
LEVELS = ((0.05, "."), (0.3, "-"), (0.7, "="), (1.3, "#"))


@dataclass
class Seen:
    """What was seen of one process: when it began, and pairs of seconds and of CPU seconds so far."""

    began: float
    words: str = ""
    looks: list[tuple[float, float]] = field(default_factory=list)

    def bar(self, whole: float) -> str:
        """How busy it was in each part of the whole time."""
        width = whole / COLUMNS
        return "".join(self._sign(column * width, width) for column in range(COLUMNS))

    def _sign(self, start: float, width: float) -> str:
        if start + width < self.began or start > self.looks[-1][0]:
            return " "
        before, after = (
            max((cpu for at, cpu in self.looks if at <= end), default=0.0) for end in (start, start + width)
        )
        share = (after - before) / width
        return next((sign for limit, sign in LEVELS if share < limit), "@")


class Timeline:
    """Looks at all processes that have this command's mark among their variables."""

    def __init__(self, mark: str) -> None:
        self._mark, self._began = mark, time.time()
        self.seen: dict[psutil.Process, Seen] = {}
        self._others: set[psutil.Process] = set()

    def look(self) -> None:
        """Take the CPU seconds of each."""
        for process in psutil.process_iter():
            if process not in self._others:
                try:
                    self._look_at(process)
                except psutil.Error:
                    continue

    def _look_at(self, process: psutil.Process) -> None:
        if process not in self.seen:
            if process.environ().get(MARK) != self._mark:
                if time.time() - process.create_time() > 1.0:  # a younger one may not have begun its program
                    self._others.add(process)
                return
            self.seen[process] = Seen(process.create_time() - self._began)
        spent, words = process.cpu_times(), " ".join(process.cmdline())
        found = self.seen[process]
        found.words = words or found.words
        found.looks.append((time.time() - self._began, spent.user + spent.system))


def main() -> None:
    mark = str(os.getpid())
    timeline, began = Timeline(mark), time.time()
    command = [str(Path(sys.executable).parent / "tidegate"), *sys.argv[1:]]
    running = subprocess.Popen(command, env={**os.environ, MARK: mark})
    while running.poll() is None:
        timeline.look()
        time.sleep(LOOK_S)
    whole = time.time() - began
    found = sorted((one for one in timeline.seen.values() if one.looks), key=lambda one: one.began)
    for one in found:
        end, cpu = one.looks[-1]
        words = one.words.replace(f"{sys.executable} ", "")
        print(f"{one.began:6.2f} -{end:6.2f} s {cpu:6.2f} CPU s |{one.bar(whole)}| {words[:80]}")
    print(
        f"{whole:.2f} s, {sum(one.looks[-1][1] for one in found):.2f} CPU s; it ended with {running.returncode}"
    )


if __name__ == "__main__":
    main()
