"""The arguments of the commands that tell where a release comes from. Imports only argparse."""

from tidegate.pipelines.run_arguments import Add


def provenance_commands(add: Add) -> None:
    """Add these commands."""
    history = add(
        "history",
        "provenance.history:history",
        "show who released, refused, rolled back or deleted what, when and why",
        "tidegate history digits",
    )
    history.add_argument(
        "endpoint", metavar="ENDPOINT", nargs="?", help="only what was done to this endpoint"
    )
    history.add_argument(
        "--verify",
        action="store_true",
        help="check that no entry was changed, removed or put between; exit code 1 and the first one otherwise",
    )
    trace = add(
        "trace",
        "provenance.trace:trace",
        "show where a release comes from: data, code, lock, weights, parity, gate, signature, who",
        "tidegate trace digits",
    )
    trace.add_argument("name", metavar="NAME", help="an endpoint")
    trace.add_argument("--release", type=int, metavar="N", help="a release's number (default: the live one)")
    reproduce = add(
        "reproduce",
        "provenance.reproduce:reproduce",
        "train a run's winner again, and name the first thing that differs",
        "tidegate reproduce digits",
    )
    reproduce.add_argument(
        "run", metavar="RUN", help="a run's id, or an experiment's name for its newest run"
    )
    signing = add(
        "signing",
        "provenance.signing:signing",
        "list, change or trust the keys that sign releases",
        "tidegate signing list",
    )
    signing.add_argument(
        "do",
        choices=["list", "rotate", "trust", "distrust"],
        help="list: the keys; rotate: sign with a new one from now on; trust: another home's public key; distrust: not "
        "any more",
    )
    signing.add_argument(
        "what", metavar="WHAT", nargs="?", help="of trust a public key's PEM file, of distrust a key's id"
    )
