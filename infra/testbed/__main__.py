"""The command line `python -m tidegate.infra.testbed up|down|status|images|…`; only this module prints."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tidegate.infra.cluster.images import GPU, NAMES
from tidegate.infra.errors import InfraError
from tidegate.infra.testbed import cluster, faults, install, nodes
from tidegate.infra.testbed.host.layout import GATEWAY_PORT, Layout
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.images import ours


def main() -> int:
    """Run one command; the result goes to stdout, progress and errors to stderr."""
    words = _parser().parse_args()
    try:
        return COMMANDS[words.command](Layout.default(), words)
    except InfraError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tidegate.infra.testbed", description="A real Kubernetes, for tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="build what is missing, start it, print the kubeconfig's path")
    commands.add_parser("down", help="stop all of it and put the machine back as it was")
    commands.add_parser("status", help="say what runs; exit code 1 unless all of it does")
    commands.add_parser("install", help="put Tidegate's own side on it: namespace, roles, MLflow, database")
    built = commands.add_parser("images", help="build our images of this checkout and import them")
    built.add_argument("name", nargs="*", choices=[*NAMES, GPU, []], help="default: all but train-gpu")
    archives = commands.add_parser("load", help="import OCI archives into the node")
    archives.add_argument("file", nargs="+", type=Path)
    fake = commands.add_parser("nodes", help="have COUNT simulated nodes; 0 removes them")
    fake.add_argument("count", type=int)
    fake.add_argument("--gpus", type=int, default=8, help="of each new one")
    one = commands.add_parser("restart", help="stop a part and start it again, such as apiserver")
    one.add_argument("part")
    commands.add_parser("compact", help="make etcd forget older revisions, so that old watches end with 410")
    return parser


def _down(layout: Layout, _words: argparse.Namespace) -> int:
    print("stopped" if cluster.down(layout) else "nothing was up")
    return 0


def _images(layout: Layout, words: argparse.Namespace) -> int:
    print("\n".join(ours.ensure(layout, words.name or NAMES, _timed())))
    return 0


def _load(layout: Layout, words: argparse.Namespace) -> int:
    for file in words.file:
        images.load(layout, file)
    return 0


def _nodes(layout: Layout, words: argparse.Namespace) -> int:
    nodes.resize(layout, words.count, words.gpus)
    return 0


def _restart(layout: Layout, words: argparse.Namespace) -> int:
    faults.restart(layout, words.part)
    return 0


def _compact(layout: Layout, _words: argparse.Namespace) -> int:
    print(faults.compact(layout))
    return 0


def _up(layout: Layout, _words: argparse.Namespace) -> int:
    say = _timed()
    cluster.up(layout, say)
    say("ready")
    print(f"gateway http://127.0.0.1:{GATEWAY_PORT}, S3 in {layout.s3_credentials}", file=sys.stderr)
    print(f"kubeconfig {layout.kubeconfig}")
    return 0


def _timed() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:5.1f} s  {text}", file=sys.stderr)


def _install(layout: Layout, _words: argparse.Namespace) -> int:
    say = _timed()
    install.install(layout, say)
    say(f"MLflow answers at {install.MLFLOW_URL}")
    print(f"in your shell, before tidegate --target testbed:\n\n. {install.environment(layout)}")
    return 0


def _status(layout: Layout, _words: argparse.Namespace) -> int:
    found = cluster.status(layout)
    for name, lives in found.items():
        print(f"{name:12} {'runs' if lives else 'dead'}")
    wanted = {name for names in cluster.STOPS for name in names}
    if not found:
        print("nothing is up")
    return 0 if wanted <= {name for name, lives in found.items() if lives} else 1


COMMANDS: dict[str, Callable[[Layout, argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "install": _install,
    "images": _images,
    "load": _load,
    "nodes": _nodes,
    "restart": _restart,
    "compact": _compact,
}

if __name__ == "__main__":
    sys.exit(main())
