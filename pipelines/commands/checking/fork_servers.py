"""The fork servers that stay in a home for its next submit."""

from typing import Any

import psutil

from tidegate.infra.system.processes import Record
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.executors.forking.servers import can_fork
from tidegate.pipelines.executors.forking.warm import VARIABLE, ask, living, warm_seconds
from tidegate.pipelines.result import item
from tidegate.pipelines.state.home import Home

NAME = "fork servers"


def check_fork_servers(home: Home) -> list[dict[str, Any]]:
    """One item for each server that runs, or one that says that there is none, and for how long the next would stay."""
    try:
        seconds = warm_seconds()
    except UsageError as error:
        return [item(NAME, False, str(error), f"correct ${VARIABLE}, or unset it")]
    found = [item(record.name, True, _state(record)) for record in living(home.processes)]
    stays = "the next submit starts its own" if can_fork() and seconds else "none stays after a submit"
    return found or [item(NAME, True, f"none; {stays}")]


def _state(record: Record) -> str:
    words = [f"process {record.pid}", _memory(record.pid)]
    state = ask(record, "state")
    if state is None:
        words.append("busy")
    elif state["users"] or state["steps"]:
        words.append(f"in use, with {state['steps']} processes")
    else:
        words.append(f"idle for {state['idle_s']:.0f} s, ends in {state['left_s']:.0f} s unless it is used")
    return ", ".join(word for word in words if word)


def _memory(pid: int | None) -> str:
    """Its own memory and its part of what it shares, for people; "" if it may not be seen."""
    try:
        return f"{psutil.Process(pid).memory_full_info().pss / 1e6:.0f} MB"
    except psutil.Error:
        return ""
