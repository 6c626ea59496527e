"""Golden rows: a few of the bundle's probes, which a replica must answer as the trained model did, whenever it starts.

A release is proved when it is packaged and rolled out. A replica that starts later, on another CPU, in a new image or
with another ONNX Runtime, is proved by these rows before it is ready, and again from time to time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.models.errors import last_line, one_line
from tidegate.models.probing.probes import Probes, load_probes
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.bundle.measurements import PROBES, Probed
from tidegate.serving.errors import ProofError, ServingError
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.inference.probing import AnswerCheck

MOST, LEAST = 32, 4  # rows
SECONDS = 2.0  # that all rows may take; where a row takes long, fewer are asked


class Golden:
    """The golden rows of a loaded release.

    Args:
        predictor: of the release.
        probes: of its bundle.
        rows: how many of them are asked, at most.
    """

    def __init__(self, predictor: Predictor, probes: Probes, rows: int = MOST) -> None:
        self._check = AnswerCheck(predictor, probes, golden_rows(probes, rows))

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
        return cls(predictor, load_probes(bundle.probes), rows)

    def prove(self) -> Probed:
        """Answer them.

        Raises:
            ProofError: an answer is further from the trained model's than the release allows, or there is none.
        """
        try:
            proof = self._check.measure()
        except Exception as error:  # the user's own transform may raise anything
            raise ProofError(
                f"the golden rows were not answered: {one_line(error)}; expected the trained model's answers; roll "
                "back, or serve the release on what it was proved on",
                wrong=False,
            ) from error
        if not proof.passed:
            what = PROBES.get(proof.kind, proof.kind)
            raise ProofError(
                f"{proof.different} of {proof.rows} golden rows were answered wrong: row {proof.row}, {what}, is "
                f"{proof.max_abs_difference:.3g} away from the trained model's answer, {proof.share:.3g} times what is "
                "allowed; roll back, or serve the release on what it was proved on"
            )
        return proof


def golden_rows(probes: Probes, rows: int = MOST) -> NDArray[np.integer]:
    """Places of at most so many of the probes: as many of each kind, evenly spaced among them, in their order."""
    kinds = list(dict.fromkeys(probes.kinds))[:rows]
    places = [np.flatnonzero(np.array(probes.kinds) == kind) for kind in kinds]
    each = rows // len(kinds)
    spaced = (found[np.linspace(0, len(found) - 1, min(each, len(found))).astype(int)] for found in places)
    return np.sort(np.concatenate(list(spaced)))


def prove_in_new_process(folder: Path, home: Path) -> Probed | None:
    """Answer a bundle's golden rows with this installation, as a replica that starts now would.

    Args:
        folder: of the bundle.
        home: where the code in it finds its secrets and packages.

    Returns:
        None for a bundle of an older version, which has no probes.

    Raises:
        ProofError: it answers otherwise, or not at all.
    """
    argv = [sys.executable, "-P", "-m", "tidegate.serving.inference.golden", str(folder)]
    env = {**os.environ, "TIDEGATE_HOME": str(home)}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ProofError(last_line(ended.stderr) or f"the proof ended with code {ended.returncode}")
    last = last_line(ended.stdout)
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
