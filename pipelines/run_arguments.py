"""The arguments of the commands that run or release something, such as submit and promote. Imports only argparse."""

import argparse
from collections.abc import Callable
from typing import Any, Literal

Add = Callable[..., argparse.ArgumentParser]


def run_commands(add: Add) -> None:
    """Add these commands."""
    file: dict[str, Any] = {"metavar": "FILE_OR_NAME", "help": "experiment file, or an example's name"}
    submit = add(
        "submit",
        "submit:submit",
        "run an experiment: train, gate, package, deploy, verify, promote",
        "tidegate submit digits --set training.epochs=5",
    )
    submit.add_argument("file", **file)
    add_overrides(submit)
    _executor(submit)
    submit.add_argument("--detach", action="store_true", help="return at once; the run continues")
    submit.add_argument(
        "--schedule",
        action="store_true",
        help="run nothing now: set the file's schedule and trigger, or set them anew",
    )
    add_message(submit)
    _release(add)
    _promote(add)
    plan = add("plan", "plan:plan", "show what submit would do", "tidegate plan digits")
    plan.add_argument("file", nargs="?", **file)
    add_overrides(plan)
    plan.add_argument("--manifests", action="store_true", help="print the Kubernetes objects")
    plan.add_argument("--schema", action="store_true", help="print the experiment file's JSON Schema")
    resume = add(
        "resume", "submit:resume", "continue a run that did not finish", "tidegate resume digits-1a2b3c4d"
    )
    resume.add_argument("run", metavar="RUN")
    _executor(resume)
    resume.add_argument("--detach", action="store_true", help="return at once; the run continues")
    add_message(resume)
    cancel = add(
        "cancel", "submit:cancel", "stop a run and all that it started", "tidegate cancel digits-1a2b3c4d"
    )
    cancel.add_argument("run", metavar="RUN")
    _decisions(add)
    schedule = add(
        "schedule",
        "schedules.managing:schedule",
        "list the schedules, or pause, resume, run or delete one",
        "tidegate schedule list",
    )
    schedule.add_argument("action", choices=["list", "pause", "resume", "run", "delete"])
    schedule.add_argument(
        "name", metavar="NAME", nargs="?", help="a schedule, which has its experiment's name"
    )


def _decisions(add: Add) -> None:
    for name, about in (
        ("approve", "approve what a run would release, which waits for it"),
        ("refuse", "refuse what a run would release, which waits for it"),
    ):
        command = add(name, f"runs.approval:{name}", about, f"tidegate {name} digits-1a2b3c4d -m 'as agreed'")
        command.add_argument(
            "run", metavar="RUN", help="a run's id, or an experiment's name for its newest run"
        )
        command.add_argument("-m", "--message", metavar="REASON", help="why")
        command.add_argument("--detach", action="store_true", help="return at once; the run continues")


def _release(add: Add) -> None:
    release = add(
        "release",
        "release:release",
        "prove, gate and deploy a trained model",
        "tidegate release churn.onnx --rows held_out.csv --target-column churned --endpoint churn",
    )
    release.add_argument(
        "model",
        metavar="MODEL",
        help="a .keras or .onnx file, a SavedModel's folder, models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH",
    )
    release.add_argument(
        "--rows", required=True, metavar="FILE", help="rows with the target, which prove and gate the model"
    )
    release.add_argument(
        "--target-column",
        dest="columns",
        action="append",
        required=True,
        metavar="NAME",
        help="the column to predict; repeatable for a regression of several",
    )
    release.add_argument("--endpoint", required=True, metavar="NAME", help="the endpoint's name")
    release.add_argument(
        "--answers",
        metavar="FILE",
        help="the model's answers to the rows by its own framework (.npy, .npz or a table); the served model must give "
        "them",
    )
    add_overrides(release)
    _executor(release)
    release.add_argument("--detach", action="store_true", help="return at once; the run continues")
    add_message(release)


def _promote(add: Add) -> None:
    promote = add(
        "promote",
        "endpoints.promote:promote",
        "carry a release to another target, prove it there, and let it go live",
        "tidegate promote digits --from staging --to production -m 'as agreed'",
    )
    promote.add_argument("name", metavar="ENDPOINT", help="its name, the same at both targets")
    ends = "local, a name in targets.yaml, or the folder of another home (with a /)"
    promote.add_argument(
        "--from", dest="source", required=True, metavar="TARGET", help=f"where it is: {ends}"
    )
    promote.add_argument("--to", dest="destination", required=True, metavar="TARGET", help="where it goes")
    promote.add_argument(
        "--release", type=int, metavar="N", help="its number at the source (default: the live one)"
    )
    promote.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_message(promote)


def add_overrides(command: argparse.ArgumentParser) -> None:
    """Add `--set`."""
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a dotted key; repeatable",
    )


def add_message(command: argparse.ArgumentParser) -> None:
    """Add `-m`."""
    command.add_argument("-m", "--message", metavar="REASON", help="why; `tidegate history` shows it")


def server_processes(text: str) -> int | Literal["auto"]:
    """The value of `--processes`: a number, whose limits the command checks, or auto."""
    if text == "auto":
        return "auto"
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"received {text!r}; expected 1 to 64, or auto; correct it")


def _executor(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--executor",
        default="local",
        choices=["local", "inline"],
        help="local: one process per step; inline: all steps in this process, for a debugger",
    )
