"""Golden rows: a few of the bundle's probes, which a replica must answer as the trained model did, whenever it starts.

A release is proved when it is packaged and rolled out. A replica that starts later, on another CPU, in a new image or
with another ONNX Runtime, is proved by these rows before it is ready, and again from time to time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tidegate.models.data.columns import take
from tidegate.models.errors import one_line
from tidegate.models.probing.probes import Probes, load_probes
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.measurements import PROBES, Probed
from tidegate.serving.errors import ProofError, ServingError
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.inference.probing import measure_answers

MOST, LEAST = 32, 4  # rows
SECONDS = 2.0  # that all rows may take; where a row takes long, fewer are asked


class Golden:
    """The golden rows of a loaded release.

    Args:
        predictor: of the release.
        probes: a few rows, and the trained model's answers, see `golden_rows`.
    """

    def __init__(self, predictor: Predictor, probes: Probes) -> None:
        self._predictor, self._probes = predictor, probes

    @classmethod
    def of(cls, bundle: Bundle, predictor: Predictor, row_seconds: float = 0.0) -> Golden | None:
        """Those of a bundle; None for a bundle of an older version, which has no probes.

        Args:
            bundle: opened.
            predictor: of the bundle.
            row_seconds: that a row takes about.
        """
        if bundle.probes is None:
            return None
        rows = int(min(MOST, max(LEAST, SECONDS / max(row_seconds, 1e-9))))
        return cls(predictor, golden_rows(load_probes(bundle.probes), rows))

    def prove(self) -> Probed:
        """Answer them.

        Raises:
            ProofError: an answer is further from the trained model's than the release allows, or there is none.
        """
        try:
            proof = measure_answers(self._predictor, self._probes)
        except Exception as error:  # the user's own transform may raise anything
            raise ProofError(
                f"the golden rows were not answered: {one_line(error)}; expected the trained model's answers; roll "
                "back, or serve the release on what it was proved on"
            ) from error
        if not proof.passed:
            what = PROBES.get(proof.kind, proof.kind)
            raise ProofError(
                f"{proof.different} of {proof.rows} golden rows were answered wrong: row {proof.row}, {what}, is "
                f"{proof.max_abs_difference:.3g} away from the trained model's answer, {proof.share:.3g} times what is "
                "allowed; roll back, or serve the release on what it was proved on"
            )
        return proof


def golden_rows(probes: Probes, rows: int = MOST) -> Probes:
    """At most so many of the probes, as many of each kind, and evenly spaced among them."""
    kinds = list(dict.fromkeys(probes.kinds))
    places = [np.flatnonzero(np.array(probes.kinds) == kind) for kind in kinds]
    each = max(1, rows // len(kinds))
    chosen = np.sort(
        np.concatenate(
            [found[np.linspace(0, len(found) - 1, min(each, len(found))).astype(int)] for found in places]
        )
    )[: max(rows, 1)]
    before = probes.before if probes.before is None else probes.before[chosen[chosen < len(probes.before)]]
    return Probes(
        take(probes.columns, chosen),
        [probes.kinds[place] for place in chosen],
        probes.answers[chosen],
        before,
        probes.scale,
    )


def prove_in_new_process(folder: Path) -> Probed | None:
    """Answer a bundle's golden rows with this installation, as a replica that starts now would.

    Args:
        folder: of the bundle.

    Returns:
        None for a bundle of an older version, which has no probes.

    Raises:
        ProofError: it answers otherwise, or not at all.
    """
    argv = [sys.executable, "-P", "-m", "tidegate.serving.inference.golden", str(folder)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ProofError(
            ended.stderr.strip().rpartition("\n")[2] or f"the proof ended with code {ended.returncode}"
        )
    last = ended.stdout.strip().rpartition("\n")[2]
    return None if last == "null" else Probed.model_validate_json(last)


def main() -> int:
    """Prove the bundle in the folder that is named, and print the proof as JSON, `null` where there are no probes."""
    try:
        bundle = open_bundle(Path(sys.argv[1]))
        golden = Golden.of(bundle, Predictor.of(bundle))
        print("null" if golden is None else golden.prove().model_dump_json())
    except ServingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
