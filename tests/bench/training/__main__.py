"""`make bench-training`: an epoch of ours over an epoch of plain `model.fit`, for each kind of network and backend;
beside them the network's matrix products alone, a loop written by hand in PyTorch where that is installed, and what a
second process is worth. `--examples`: the same of the example experiments instead, on TensorFlow.

All loops are driven in turn, so that a slow moment of the machine hits all of them; told are the medians of an epoch's
seconds. CPU seconds depend less on who else is busy.
"""

import argparse

from tests.bench.training import examples, networks, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--examples", nargs="*", metavar="NAME", help="of these experiments; all without a name"
    )
    given = parser.parse_args()
    if given.examples is not None:
        examples.table(given.examples)
    else:
        networks.table()
        pairs.table()


if __name__ == "__main__":
    main()
