"""The `tidegate` command: wiring only. Nothing heavy is imported on the way to `--help`."""

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

Command = Callable[[argparse.Namespace], Any]


def _submit(args: argparse.Namespace) -> Any:
    from pipelines.submit import submit

    return submit(_home(args), args.experiment, args.set, detach=args.detach, executor=args.executor)


def _plan(args: argparse.Namespace) -> Any:
    from pipelines.preview import preview

    return preview(_home(args), args.experiment, args.set, manifests=args.manifests, schema=args.schema)


def _runs(args: argparse.Namespace) -> Any:
    from pipelines.look import runs

    return runs(_home(args))


def _show(args: argparse.Namespace) -> Any:
    from pipelines.look import show

    return show(_home(args), args.run_id)


def _logs(args: argparse.Namespace) -> Any:
    from pipelines.look import logs

    return logs(_home(args), args.run_id, args.step, follow=args.follow, quiet=args.json)


def _compare(args: argparse.Namespace) -> Any:
    from pipelines.look import compare

    return compare(_home(args), args.run_ids)


def _cancel(args: argparse.Namespace) -> Any:
    from pipelines.submit import cancel

    return cancel(_home(args), args.run_id)


def _resume(args: argparse.Namespace) -> Any:
    from pipelines.submit import resume

    return resume(_home(args), args.run_id, executor=args.executor)


def _endpoints(args: argparse.Namespace) -> Any:
    from pipelines.endpoints import endpoints

    return endpoints(_home(args))


def _predict(args: argparse.Namespace) -> Any:
    from pipelines.ask import predict

    return predict(_home(args), args.endpoint, args.input)


def _rollback(args: argparse.Namespace) -> Any:
    from pipelines.endpoints import rollback

    return rollback(_home(args), args.endpoint, args.to)


def _delete(args: argparse.Namespace) -> Any:
    from pipelines.endpoints import delete

    return delete(_home(args), args.endpoint)


def _ui(args: argparse.Namespace) -> Any:
    from pipelines.house import ui

    return ui(_home(args), open_browser=not args.json)


def _check(args: argparse.Namespace) -> Any:
    from pipelines.house import check

    return check(_home(args))


def _serve(args: argparse.Namespace) -> Any:
    from pipelines.ask import serve

    return serve(_home(args), args.run_or_bundle, args.port)


def _init(args: argparse.Namespace) -> Any:
    from pipelines.house import init

    return init(Path(args.dir))


def _down(args: argparse.Namespace) -> Any:
    from pipelines.house import down

    return down(_home(args))


def _gc(args: argparse.Namespace) -> Any:
    from pipelines.house import gc

    return gc(_home(args))


def _completion(args: argparse.Namespace) -> Any:
    import shtab

    print(shtab.complete(make_parser(), args.shell))


def _home(args: argparse.Namespace) -> Any:
    from pipelines.home import Home
    from pipelines.targets import require_target

    home = Home(Path(args.home or os.environ.get("TIDEGATE_HOME") or ".tidegate"))
    require_target(home, args.target)
    return home


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--target", default="local", help="where work runs: local, or a name in targets.yaml")
    common.add_argument("--home", metavar="DIR", help="state folder (default $TIDEGATE_HOME, else .tidegate)")
    common.add_argument("--json", action="store_true", help="one JSON document on stdout, progress on stderr")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="tidegate",
        description="From one experiment file to a live prediction endpoint.",
        epilog="example: tidegate submit digits",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Command, about: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example: {example}",
            parents=[common],
        )
        command.set_defaults(run=run)
        return command

    _add_pipeline(add)
    _add_looking(add)
    _add_endpoints(add)
    _add_house(add)
    return parser


def _add_experiment(command: argparse.ArgumentParser) -> None:
    command.add_argument("experiment", metavar="FILE_OR_NAME", help="experiment file, or an example's name")
    _add_set(command)


def _add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a dotted key; repeatable"
    )


def _add_executor(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--executor",
        default="local",
        choices=["local", "inline"],
        help="local: a process a step; inline: all in this process, for a debugger",
    )


def _add_pipeline(add: Callable[..., argparse.ArgumentParser]) -> None:
    submit = add(
        "submit",
        _submit,
        "run an experiment: train, gate, package, deploy, verify, promote",
        "tidegate submit digits --set training.epochs=5",
    )
    _add_experiment(submit)
    _add_executor(submit)
    submit.add_argument("--detach", action="store_true", help="return at once; the run goes on")
    plan = add("plan", _plan, "show what submit would do", "tidegate plan digits")
    plan.add_argument(
        "experiment", metavar="FILE_OR_NAME", nargs="?", help="experiment file, or an example's name"
    )
    _add_set(plan)
    plan.add_argument("--manifests", action="store_true", help="print the Kubernetes objects")
    plan.add_argument("--schema", action="store_true", help="print the experiment file's JSON Schema")
    resume = add("resume", _resume, "go on with a run that did not end", "tidegate resume digits-1a2b3c4d")
    resume.add_argument("run_id", metavar="RUN")
    _add_executor(resume)
    cancel = add("cancel", _cancel, "stop a run, nothing left behind", "tidegate cancel digits-1a2b3c4d")
    cancel.add_argument("run_id", metavar="RUN")


def _add_looking(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("runs", _runs, "list the runs, newest first", "tidegate runs")
    show = add("show", _show, "show one run", "tidegate show digits-1a2b3c4d")
    show.add_argument("run_id", metavar="RUN")
    logs = add("logs", _logs, "print what a run's steps printed", "tidegate logs digits-1a2b3c4d train -f")
    logs.add_argument("run_id", metavar="RUN")
    logs.add_argument("step", metavar="STEP", nargs="?", help="a step's id, or its beginning")
    logs.add_argument("-f", "--follow", action="store_true", help="go on printing until the run ends")
    compare = add(
        "compare",
        _compare,
        "show what differs between runs",
        "tidegate compare digits-1a2b3c4d digits-5e6f7a8b",
    )
    compare.add_argument("run_ids", metavar="RUN", nargs="+")
    add("ui", _ui, "open the MLflow UI, or print its URL", "tidegate ui")


def _add_endpoints(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("endpoints", _endpoints, "list the endpoints", "tidegate endpoints")
    predict = add("predict", _predict, "ask an endpoint", "tidegate predict digits --input rows.json")
    predict.add_argument("endpoint", metavar="NAME")
    predict.add_argument(
        "--input",
        metavar="FILE",
        help="rows as .json, .jsonl, .csv or .npz; - or nothing reads JSON from stdin",
    )
    rollback = add("rollback", _rollback, "serve an earlier release again", "tidegate rollback digits --to 1")
    rollback.add_argument("endpoint", metavar="NAME")
    rollback.add_argument("--to", type=int, metavar="N", help="release number (default: the one before)")
    delete = add("delete", _delete, "remove an endpoint", "tidegate delete digits")
    delete.add_argument("endpoint", metavar="NAME")
    serve = add(
        "serve",
        _serve,
        "run the endpoint's server in the foreground, without a deployment",
        "tidegate serve digits-1a2b3c4d --port 3333",
    )
    serve.add_argument("run_or_bundle", metavar="RUN_OR_BUNDLE")
    serve.add_argument("--port", type=int, default=3000, metavar="N", help="port on 127.0.0.1 (default 3000)")


def _add_house(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("check", _check, "tell whether this target can do the job", "tidegate check")
    init = add("init", _init, "write a new experiment file and model file", "tidegate init my-experiment")
    init.add_argument("dir", metavar="DIR")
    add("down", _down, "stop what runs here", "tidegate down")
    add("gc", _gc, "remove what no live release or run needs", "tidegate gc")
    completion = add(
        "completion", _completion, "print a shell's completion script", "tidegate completion bash"
    )
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; the process's own when None.

    Returns:
        0 done, 1 a step failed, 2 the experiment or the command line is wrong, 3 the gate refused.
    """
    args = make_parser().parse_args(argv)
    with _only_json_on_stdout(args.json) as stdout:
        try:
            result = args.run(args)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 1
        except BrokenPipeError:
            return 1
        except Exception as error:
            return _report(error, args.debug)
        if args.json:
            json.dump(result.data if result else None, stdout, indent=1)
            stdout.write("\n")
        elif result and result.text:
            print(result.text)
    return result.exit_code if result else 0


def _report(error: Exception, debug: bool) -> int:
    """Tell an error on stderr, the culprit in the last line, and return its exit code."""
    from pipelines.errors import in_words

    if debug:
        traceback.print_exception(error)
        print(getattr(error, "trace", ""), file=sys.stderr)
    print(f"error: {in_words(error)}", file=sys.stderr)
    return next(code for kind, code in _exit_codes() if isinstance(error, kind))


def _exit_codes() -> list[tuple[type[Exception], int]]:
    """The one table from error to exit code; the first that fits counts."""
    from models.errors import ModelsError
    from pipelines.errors import RefusedError, UsageError

    return [
        (UsageError, 2),
        (ModelsError, 2),  # raised here, not in a step: what the experiment says can not be
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
