"""A run's progress on stderr: one line per step, and a bar (terminal) or one line per epoch."""

import json
import sys
import time
from typing import TextIO

from tidegate.pipelines.state.home import RunFolder, StepRecord

# No tqdm: it is installed for training only, and a driver in the cluster does not train.
EVERY_S = 0.2
WIDTH = 28
# How lines of a trial's log begin that are shown: without a bar, and above a bar.
SHOWN = ("starting: ", "epoch ", "resumed from ", "skipped a checkpoint")
SHOWN_ABOVE_BAR = ("starting: ",)


class Progress:
    """Shows the steps of one run."""

    def __init__(self, folder: RunFolder, stream: TextIO | None = None) -> None:
        """Show the run of `folder` on `stream` (default stderr)."""
        self._folder = folder
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._shown: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._drawn = False
        self._last = 0.0

    def show_step(self, record: StepRecord, detail: str = "") -> None:
        """Show a step that changed, in one line."""
        if record.status == "running":
            self._began[record.id] = time.monotonic()
            log = self._folder.log(record.id)
            self._shown[record.id] = log.stat().st_size if log.exists() else 0
            return
        self._lines(record.id)
        self._clear()
        self._began.pop(record.id, None)
        seconds = "" if record.status == "cached" else f"{record.seconds:6.1f} s"
        self.say(f"{record.id:<24} {record.status:<9} {seconds:>9}  {detail}".rstrip())

    def say(self, text: str) -> None:
        """Show any other line."""
        self._clear()
        print(text, file=self._stream, flush=True)

    def refresh(self) -> None:
        """Show what is new, a few times per second at most."""
        if time.monotonic() - self._last < EVERY_S:
            return
        self._last = time.monotonic()
        for step_id in [known for known in self._began if known.startswith("train")]:
            self._lines(step_id)
            if self._bar:
                self._draw(step_id)

    def _lines(self, step_id: str) -> None:
        """Show new lines of the step's log that are for the user."""
        log = self._folder.log(step_id)
        if step_id not in self._shown or not log.exists():
            return
        with log.open("rb") as file:
            file.seek(self._shown[step_id])
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._shown[step_id] += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.startswith(SHOWN_ABOVE_BAR if self._bar else SHOWN):
                self.say(f"{step_id:<24} {line}")

    def _draw(self, step_id: str) -> None:
        try:
            known = json.loads((self._folder.path / "progress" / f"{step_id}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return
        share, elapsed = known["share"], known["t"] - known["began"]
        eta = f"{elapsed * (1 - share) / share:.0f} s left" if share > 0 else ""
        filled = "#" * round(WIDTH * share)
        line = f"{step_id:<24} [{filled:<{WIDTH}}] epoch {known['epoch']}/{known['epochs']} {eta}"
        print(f"\r{line[:118]:<118}", end="", file=self._stream, flush=True)
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            print(f"\r{'':<118}\r", end="", file=self._stream, flush=True)
            self._drawn = False
