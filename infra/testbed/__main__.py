"""`python -m infra.testbed up|down|status|images|install|load`: the only part that prints."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.cluster.images import GPU, NAMES
from infra.errors import InfraError
from infra.testbed import cluster, images, install, ours
from infra.testbed.layout import GATEWAY_PORT, Layout


def main() -> int:
    """Run one command; its answer goes to stdout, progress and errors to stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.testbed", description="A real Kubernetes, for tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="build what is missing, start it, print the kubeconfig's path")
    commands.add_parser("down", help="stop all of it and put the machine back as it was")
    commands.add_parser("status", help="say what runs; exit code 1 unless all of it does")
    commands.add_parser("install", help="put Tidegate's own side on it: namespace, roles, MLflow, database")
    commands.add_parser("load", help="import OCI archives into the node").add_argument(
        "file", nargs="+", type=Path
    )
    commands.add_parser("images", help="build our images of this checkout and import them").add_argument(
        "name", nargs="*", choices=[*NAMES, GPU, []], help="some of them; all but train-gpu when not given"
    )
    words = parser.parse_args()
    layout = Layout.default()
    try:
        return _run(words, layout)
    except InfraError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(words: argparse.Namespace, layout: Layout) -> int:
    if words.command == "up":
        return _up(layout)
    if words.command == "install":
        return _install(layout)
    if words.command == "down":
        print("stopped" if cluster.down(layout) else "nothing was up")
        return 0
    if words.command == "images":
        print("\n".join(ours.ensure(layout, words.name or NAMES, _timed())))
        return 0
    if words.command == "load":
        for file in words.file:
            images.load(layout, file)
        return 0
    return _status(layout)


def _up(layout: Layout) -> int:
    say = _timed()
    cluster.up(layout, say)
    say("ready")
    print(f"gateway http://127.0.0.1:{GATEWAY_PORT}, S3 in {layout.s3_credentials}", file=sys.stderr)
    print(layout.kubeconfig)
    return 0


def _timed() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:5.1f} s  {text}", file=sys.stderr)


def _install(layout: Layout) -> int:
    say = _timed()
    install.install(layout, say)
    say(f"MLflow answers at {install.MLFLOW_URL}")
    print(f"export KUBECONFIG={layout.kubeconfig}")
    print(f"export AWS_SHARED_CREDENTIALS_FILE={install.credentials(layout)}")
    print(f"export TIDEGATE_TARGETS={install.TARGETS}")
    return 0


def _status(layout: Layout) -> int:
    found = cluster.status(layout)
    for name, lives in found.items():
        print(f"{name:12} {'runs' if lives else 'dead'}")
    wanted = {name for names in cluster.STOPS for name in names}
    if not found:
        print("nothing is up")
    return 0 if wanted == {name for name, lives in found.items() if lives} else 1


if __name__ == "__main__":
    sys.exit(main())
