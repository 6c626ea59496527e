"""What a forked process does: become what a process of its own would be, run the step, and end."""

import os
import signal
import sys
import time
import traceback
from importlib import import_module
from typing import Any, NoReturn

from tidegate.pipelines.executors.forking.imports import Kind
from tidegate.pipelines.executors.forking.process_title import set_command_line


def run_child(kind: Kind, asked: dict[str, Any], files: list[int]) -> NoReturn:
    """Run a step and end the process, whatever happens; it never returns into the server's loop.

    Args:
        kind: whose process it is.
        asked: `arguments` of its module, `variables` of its environment, its `folder`, and `argv` to show.
        files: its standard input, output and error.
    """
    try:
        _become(asked, files)
        code = getattr(import_module(kind.module), kind.function)(asked["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _become(asked: dict[str, Any], files: list[int]) -> None:
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(asked["variables"])
    time.tzset()
    os.chdir(asked["folder"])
    set_command_line(asked["argv"])
    sys.argv = [asked["argv"][0], *asked["arguments"]]
    if "numpy" in sys.modules:  # each process has its own unseeded numbers, as Python's are after a fork
        sys.modules["numpy"].random.seed()
