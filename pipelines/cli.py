"""The `tidegate` command: wiring only. `--help` imports nothing heavy."""

import argparse
import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, TextIO

from tidegate.infra.system.strict_json import strict_json
from tidegate.pipelines.errors import error_message
from tidegate.pipelines.parser import COMMON, make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; the process's own when None.

    Returns:
        0 done, 1 a step failed, 2 the experiment or the command line is wrong, 3 the gate refused.
    """
    words = sys.argv[1:] if argv is None else argv
    args = make_parser(next(iter(words), None)).parse_args(argv)
    try:
        with _only_json_on_stdout(args.json) as stdout:
            return _run(args, stdout)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    finally:
        if argv is None:  # the process ends: what it still has needs no search for garbage
            gc.freeze()


def _run(args: argparse.Namespace, stdout: TextIO) -> int:
    try:
        result = _call(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise
    except Exception as error:
        code = _report(error, args.debug)
        if args.json:
            _write(getattr(error, "data", None) or {"error": error_message(error), "exit_code": code}, stdout)
        return code
    if args.json:
        _write(result.data, stdout)
    elif result.text:
        print(result.text, flush=True)
    return int(result.exit_code)


def _write(data: Any, stdout: TextIO) -> None:
    stdout.write(strict_json(data, indent=1) + "\n")
    stdout.flush()


def _call(args: argparse.Namespace) -> Any:
    """Call the command's function with its own arguments, by name."""
    own = {key: value for key, value in vars(args).items() if key not in COMMON}
    module, _, name = args.function.partition(":")
    if args.quiet:
        own["quiet"] = args.json
    if args.command == "plan":  # pydantic's search for plugins takes a twentieth of its time
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.disable()  # what is imported is no garbage, and searching it for some takes a tenth of a plan's time
    try:
        function = getattr(import_module(module), name)
    finally:
        gc.freeze()
        gc.enable()
    if not args.needs_home:
        return function(**own)
    from tidegate.pipelines.state.home import mlflow_of, open_home

    with mlflow_of(open_home(args.home, args.target)) as home:
        return function(home, **own)


def _report(error: Exception, debug: bool) -> int:
    """Print an error on stderr, its cause in the last line, and return its exit code."""
    if debug:
        traceback.print_exception(error)
        print(getattr(error, "trace", ""), file=sys.stderr)
    print(f"error: {error_message(error)}", file=sys.stderr)
    from tidegate.pipelines.python_api.errors import public_error

    return public_error(error).exit_code


@contextlib.contextmanager
def _only_json_on_stdout(wanted: bool) -> Iterator[TextIO]:
    """With --json, whatever libraries and their C code print goes to stderr."""
    if not wanted:
        yield sys.stdout
        return
    sys.stdout.flush()
    real = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with real:
        yield real


if __name__ == "__main__":
    sys.exit(main())
