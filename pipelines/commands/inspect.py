"""show, logs: what happened in a run."""

import sys
import time
from pathlib import Path
from typing import Any

from tidegate.models.preprocessing.profile.column_lines import column_lines
from tidegate.pipelines.commands.endpoints.drift import drift_of, drift_summary_with_rows
from tidegate.pipelines.commands.endpoints.logs import endpoint_logs
from tidegate.pipelines.commands.runs.resumable import true_advice
from tidegate.pipelines.commands.runs.summary import run_result
from tidegate.pipelines.errors import UnknownNameError
from tidegate.pipelines.hosting import hosting
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.finished_steps import outputs_of
from tidegate.pipelines.state.home import RUNNING, Home, RunFolder, RunRecord
from tidegate.pipelines.state.mirror import refresh
from tidegate.serving.deployment.release import load

POLL_S = 0.2
REMOTE_POLL_S = 2.0


def show(home: Home, run: str) -> Result:
    """One run: its result as of now, its steps and its experiment.

    Args:
        home: the home.
        run: the run's id, or an experiment's name for its newest run.

    Raises:
        UnknownNameError: no such run.
    """
    refresh(home, run, "spool/*")
    folder = home.newest_run(run)
    if folder.run != run:
        refresh(home, folder.run, "spool/*")
    record = folder.read()
    result = run_result(home, folder)
    data = result.data | {"name": record.name, "created": record.created, "experiment": record.experiment}
    # A release that was replaced gets no requests, so it has no drift.
    live = data["release"] is not None and data["release"] == data["live_release"]
    trust = hosting(home).trust(load(home.store, record.endpoint)) if live else None
    data["drift"] = drift_of(data["endpoint"], trust) if live else None
    data["columns"] = _columns(home, record)
    rows = [(step["id"], step["status"], f"{step['seconds']:.1f} s") for step in result.data["steps"]]
    data["reason"] = true_advice(home, record, record.reason)
    reason = f"\n\n{data['reason']}" if data["reason"] else ""
    reason += f"\n\ndrift  {drift_summary_with_rows(data['drift'])}" if data["drift"] else ""
    listed = "".join(f"\ncolumn {line}" for line in column_lines(data["columns"]))
    reason += f"\n{listed}" if listed else ""
    return Result(data, f"{result.text}{reason}\n\n{table(('step', 'status', 'seconds'), rows)}")


def _columns(home: Home, record: RunRecord) -> list[dict[str, Any]]:
    """What was said of each column; nothing in runs of earlier versions."""
    prepared = next(iter(outputs_of(home, record, "prepare")), None)
    return list(prepared["summary"].get("columns", [])) if prepared else []


def logs(
    home: Home, run: str, step: str | None, *, follow: bool, quiet: bool, endpoint: bool = False
) -> Result:
    """What the steps printed, in the order of the steps; with `follow`, until the run ends.

    Args:
        home: the home.
        run: the run's id, or an experiment's name, which stands for its newest run; or an endpoint's name.
        endpoint: the name is an endpoint's, even where there are runs of this name.
        step: a step's id or the start of it; None for all.
        follow: keep printing.
        quiet: print nothing, only return the text.

    Raises:
        UnknownNameError: no such run or step.
    """
    refresh(home, run)
    if endpoint or not _is_run(home, run):
        return endpoint_logs(home, run, step, follow=follow, quiet=quiet, or_run=not endpoint)
    folder = home.newest_run(run)
    offsets: dict[Path, int] = {}
    text = ""
    while True:
        refresh(home, folder.run, "logs/*")
        running = folder.read().status in RUNNING
        if step and not (running and follow):
            _check_step(folder, step, quiet)
        fresh = _new_text(folder, step, offsets)
        text += fresh
        if fresh and not quiet:
            sys.stdout.write(fresh)
            sys.stdout.flush()
        if not (follow and running):
            return Result({"run": folder.run, "log": text}, "")
        time.sleep(POLL_S if home.target is None else REMOTE_POLL_S)


def _is_run(home: Home, name: str) -> bool:
    try:
        home.newest_run(name)
    except UnknownNameError:
        return False
    return True


def _check_step(folder: RunFolder, start: str, quiet: bool) -> None:
    """Refuse a step that the run does not have; say why one has no log, such as a result from the cache."""
    logged = {path.stem for path in (folder.path / "logs").glob("*.log")}
    if any(name.startswith(start) for name in logged):
        return
    silent = {step.id: step.status for step in folder.read().steps if step.id.startswith(start)}
    if not silent:
        known = sorted(logged | {step.id for step in folder.read().steps})
        raise UnknownNameError("step", start, known, f"run {folder.run} has {', '.join(known) or 'none'}")
    for name, status in [] if quiet else silent.items():
        why = "its result was taken from the cache" if status == "cached" else f"it is {status}"
        print(f"{name} has printed nothing in run {folder.run}: {why}", file=sys.stderr)


def _new_text(folder: RunFolder, step: str | None, offsets: dict[Path, int]) -> str:
    """The text that was added to the logs since the last call."""
    paths = sorted((folder.path / "logs").glob(f"{step or ''}*.log"), key=lambda path: path.stat().st_ctime)
    text = ""
    for path in paths:
        content = path.read_bytes()[offsets.get(path, 0) :]
        if content:
            title = f"== {path.stem}\n" if path not in offsets else ""
            offsets[path] = offsets.get(path, 0) + len(content)
            text += title + content.decode(errors="replace")
    return text
