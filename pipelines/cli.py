"""The `tidegate` command: wiring only. `--help` imports nothing heavy."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
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
    args = make_parser().parse_args(argv)
    try:
        with _only_json_on_stdout(args.json) as stdout:
            return _run(args, stdout)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


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
    return getattr(import_module(module), name)(*([_home(args)] if args.needs_home else []), **own)


def _home(args: argparse.Namespace) -> Any:
    from tidegate.pipelines.state.home import Home
    from tidegate.pipelines.state.targets import find_target

    path = Path(args.home or os.environ.get("TIDEGATE_HOME") or ".tidegate")
    target = find_target(path, args.target)
    if target is not None:
        os.environ["MLFLOW_TRACKING_URI"] = target.mlflow  # not the MLflow of this machine
    return Home(path if target is None else path / "targets" / target.name, target)


def _report(error: Exception, debug: bool) -> int:
    """Print an error on stderr, its cause in the last line, and return its exit code."""
    if debug:
        traceback.print_exception(error)
        print(getattr(error, "trace", ""), file=sys.stderr)
    print(f"error: {error_message(error)}", file=sys.stderr)
    return next(code for kind, code in _exit_codes() if isinstance(error, kind))


def _exit_codes() -> list[tuple[type[Exception], int]]:
    """The exit code of each class of error; the first class that matches counts."""
    from tidegate.models.errors import ModelsError
    from tidegate.pipelines.errors import RefusedError, UsageError
    from tidegate.serving.errors import ReleaseError

    return [
        (UsageError, 2),
        (ReleaseError, 2),  # `rollback` to a release that does not exist
        (ModelsError, 2),  # raised before any step runs: the experiment is wrong
        (RefusedError, 3),
        (Exception, 1),
    ]


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
