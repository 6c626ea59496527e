"""The command line: every command, its arguments, and the function that does it. Imports only argparse."""

import argparse
from typing import Any

from tidegate.pipelines.predict_arguments import predict_command
from tidegate.pipelines.provenance_arguments import provenance_commands
from tidegate.pipelines.run_arguments import Add, add_message, add_overrides, run_commands, server_processes

# Parsed for every command and not passed to its function.
COMMON = ("command", "function", "quiet", "needs_home", "target", "home", "json", "debug")


class Version(argparse.Action):
    """Prints the installed version. It is looked up only when asked for, so that `--help` stays quick."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and exit."""
        from tidegate import __version__

        print(f"tidegate {__version__}")
        parser.exit()


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line; `function` in the parsed arguments names the function to call, as `module:name`.

    Args:
        only: the command that is needed, if there is one of this name; the others take a twentieth of a plan's time.
    """
    parser = argparse.ArgumentParser(
        prog="tidegate",
        description="From one experiment file to a live prediction endpoint.",
        epilog="example: tidegate submit digits",
    )
    version = "show program's version number and exit"
    parser.add_argument("--version", action=Version, nargs=0, default=argparse.SUPPRESS, help=version)
    common, commands = _common(), parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    names: list[str] = []
    unused = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")

    def add(
        name: str, function: str, about: str, example: str, quiet: bool = False, needs_home: bool = True
    ) -> argparse.ArgumentParser:
        names.append(name)
        if only not in (None, name):
            return unused
        description = f"{about[0].upper()}{about[1:]}."
        command = commands.add_parser(
            name, help=about, description=description, epilog=f"example: {example}", parents=[common]
        )
        function = f"tidegate.pipelines.commands.{function}"
        command.set_defaults(function=function, quiet=quiet, needs_home=needs_home)
        return command

    for part in (run_commands, _inspection, provenance_commands, _endpoints, _workspace):
        part(add)
    return parser if only is None or only in names else make_parser()


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--target", default="local", help="where work runs: local, or a name in targets.yaml")
    common.add_argument("--home", metavar="DIR", help="state folder (default $TIDEGATE_HOME, else .tidegate)")
    common.add_argument("--json", action="store_true", help="one JSON document on stdout, progress on stderr")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return common


def _inspection(add: Add) -> None:
    data = add(
        "data",
        "data:data",
        "show what each column of data is taken for, and what a model gets of it",
        "tidegate data sales.csv sold",
        needs_home=False,
    )
    data.add_argument("file", metavar="FILE", help="data, or an experiment's file or name")
    data.add_argument("column", metavar="COLUMN", nargs="?", help="of data, the column to predict")
    add_overrides(data)
    data.add_argument(
        "--csv", action="append", default=[], metavar="KEY=VALUE", help="how a .csv is written, see predict"
    )
    runs = add(
        "runs", "runs.listing:runs", "list the runs, newest first", "tidegate runs --since 7d --status done"
    )
    runs.add_argument(
        "--status",
        action="append",
        default=[],
        metavar="STATUS",
        help="only runs of this status: queued, running, waiting, done, failed, refused, cancelled; repeatable",
    )
    runs.add_argument(
        "--since", metavar="AGE", help="only runs of the last 7d (or 12h, 30m), or since a date"
    )
    runs.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only runs whose metric meets it, such as 'test_auc>0.8'; repeatable",
    )
    show = add("show", "inspect:show", "show one run", "tidegate show digits-1a2b3c4d")
    show.add_argument("run", metavar="RUN", help="a run's id, or an experiment's name for its newest run")
    logs = add(
        "logs",
        "inspect:logs",
        "print what a run's steps, or an endpoint's servers, printed",
        "tidegate logs digits-1a2b3c4d train -f",
        quiet=True,
    )
    logs.add_argument(
        "run",
        metavar="RUN",
        help="a run's id, an experiment's name for its newest run, or an endpoint's name",
    )
    logs.add_argument("step", metavar="STEP", nargs="?", help="a step's id, or the start of it")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing until the run ends")
    logs.add_argument(
        "--endpoint",
        action="store_true",
        help="the name is an endpoint's, even where an experiment has it too",
    )
    wait = add("wait", "wait:wait", "wait until a run has ended", "tidegate wait digits --timeout 30m")
    wait.add_argument("run", metavar="RUN", help="a run's id, or an experiment's name for its newest run")
    wait.add_argument("--timeout", metavar="TIME", help="give up after 30s, 10m or 2h, with exit code 4")
    compare = add(
        "compare",
        "runs.compare:compare",
        "show what differs between runs, or between the trials of one search",
        "tidegate compare digits-1a2b3c4d digits-5e6f7a8b",
    )
    compare.add_argument(
        "run_ids",
        metavar="RUN",
        nargs="+",
        help="runs' ids, or experiments' names for their newest runs; one run with a search: its trials",
    )
    add("ui", "workspace:ui", "open the MLflow UI, or print its URL", "tidegate ui", quiet=True)


def _endpoints(add: Add) -> None:
    add("endpoints", "endpoints.lifecycle:endpoints", "list the endpoints", "tidegate endpoints")
    predict_command(add)
    rollback = add(
        "rollback",
        "endpoints.lifecycle:rollback",
        "serve an earlier release again",
        "tidegate rollback digits --to 1",
    )
    rollback.add_argument("name", metavar="NAME")
    rollback.add_argument("--to", type=int, metavar="N", help="release number (default: the one before)")
    add_message(rollback)
    prove = add(
        "prove",
        "endpoints.prove:prove",
        "check that an endpoint still answers as its trained model did",
        "tidegate prove digits",
    )
    prove.add_argument("name", metavar="NAME")
    recorded = add(
        "recorded",
        "endpoints.recorded:recorded",
        "count, export or forget the requests that an endpoint recorded",
        "tidegate recorded digits --output rows.parquet",
    )
    recorded.add_argument("name", metavar="NAME", help="an endpoint")
    recorded.add_argument(
        "--output", metavar="FILE", help="write them, decrypted and the oldest first, as .parquet or .jsonl"
    )
    recorded.add_argument(
        "--forget",
        metavar="COLUMN=VALUE",
        help="remove the rows whose input has this value; request=ID: those of a request",
    )
    eject = add(
        "eject",
        "endpoints.eject:eject",
        "write an endpoint's release as a folder that runs without Tidegate",
        "tidegate eject churn churn-server",
    )
    eject.add_argument("name", metavar="NAME", help="an endpoint")
    eject.add_argument("folder", metavar="DIR", help="a new or an empty folder")
    watched = add(
        "monitoring",
        "endpoints.monitoring:monitoring",
        "write alerts and a dashboard for Prometheus and Grafana",
        "tidegate monitoring watch/",
    )
    watched.add_argument(
        "folder", metavar="DIR", help="where the files go; those of an earlier call are replaced"
    )
    delete = add("delete", "removal:delete", "remove an endpoint, or a run", "tidegate delete digits")
    delete.add_argument("name", metavar="NAME", help="an endpoint, or a run's id")
    add_message(delete)
    serve = add(
        "serve",
        "endpoints.serve:serve",
        "run the endpoint's server in the foreground, without a deployment",
        "tidegate serve digits-1a2b3c4d --port 3333",
    )
    serve.add_argument("run_or_bundle", metavar="RUN_OR_BUNDLE")
    serve.add_argument(
        "--port", type=int, metavar="N", help="on 127.0.0.1 (default: the first free one from 3000)"
    )
    serve.add_argument(
        "--processes",
        type=server_processes,
        default="auto",
        metavar="N",
        help="that share the port: 1 to 64, or auto, which is one on this machine (default: auto)",
    )
    serve.add_argument("--keys", metavar="FILE", help="API keys of those who may ask, see `tidegate keys`")
    serve.add_argument(
        "--jwt", metavar="FILE", help="issuers whose tokens may ask, YAML or JSON as of serving.jwt"
    )
    serve.add_argument(
        "--rate-limit",
        metavar="FILE",
        help="requests of each key or token, YAML or JSON as of serving.rate_limit",
    )


def _workspace(add: Add) -> None:
    add("check", "workspace:check", "check that this target is ready", "tidegate check")
    init = add(
        "init",
        "init:init",
        "write a new experiment, with a model file and data, or one for a project that is there",
        "tidegate init --from churn/",
        needs_home=False,
    )
    init.add_argument(
        "folder", metavar="DIR", nargs="?", help="where it goes; with --from into the project when not given"
    )
    init.add_argument(
        "--from",
        dest="project",
        metavar="PROJECT",
        help="look at a project, run nothing of it, and write an experiment file for it",
    )
    keys = add(
        "keys",
        "endpoints.keys:keys",
        "make an API key for an endpoint",
        "tidegate keys alice >> keys.txt",
        quiet=True,
        needs_home=False,
    )
    keys.add_argument("name", metavar="NAME", help="who will use the key")
    add("down", "workspace:down", "stop everything that runs here", "tidegate down")
    add("up", "endpoints.up:up", "start again what down or a reboot stopped", "tidegate up")
    gc = add("gc", "removal:gc", "remove what no live release or run needs", "tidegate gc --older-than 30d")
    gc.add_argument(
        "--older-than",
        metavar="AGE",
        help="also delete runs that ended longer ago than 30d or 12h and belong to no release",
    )
    completion = add(
        "completion",
        "workspace:completion",
        "print a shell's completion script",
        "tidegate completion bash",
        needs_home=False,
    )
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"])
