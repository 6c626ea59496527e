"""Where a step runs. The table maps a name to the module that defines `make()`."""

from importlib import import_module
from pathlib import Path
from typing import cast

from tidegate.pipelines.executors.base import Executor

EXECUTORS = {
    "local": "tidegate.pipelines.executors.local",
    "inline": "tidegate.pipelines.executors.inline",
}


def make_executor(name: str, records: Path | None = None) -> Executor:
    """The executor of this name.

    Args:
        name: a key of EXECUTORS.
        records: the home's folder of processes, where it may leave some for the next submit; None: it leaves none.
    """
    return cast(Executor, import_module(EXECUTORS[name]).make(records))
