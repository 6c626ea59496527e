"""`python -m tests.bench.mutations [MUTANTS]`: whether the proof of a release sees a file that was exported wrong.

Each family's network is exported, and the file changed a little, see `tests.bench.mutants`. A changed file must be
noticed, unless it changes no answer to 10,000 fresh rows by more than the tolerance. Classifiers are made so sure of
themselves that held-out rows alone have probabilities of 0 and 1.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.mutants import Mutant, mutants
from tests.conformance import boxes, families, texts
from tidegate.models.data.columns import Columns
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.probing.probes import KerasAnswers, Probes, ask, make_probes
from tidegate.serving.bundle.measurements import Probed
from tidegate.serving.contract.contract import Contract
from tidegate.serving.inference.parity import measure
from tidegate.serving.inference.predictor import Predictor
from tidegate.serving.inference.probing import SMALLEST_SCALE, TOLERANCE, measure_probes
from tidegate.serving.runtimes import load_before, load_model

FRESH = 10_000
SURE = 40.0  # by how much the last layer of a classifier is multiplied
NAMES = (*(name for name in families.CASES if name != "user"), "user", *texts.CASES, "ssd")


@dataclass
class Case:
    """A family's network with the rows that prove its export."""

    name: str
    schema: Schema
    transforms: Transforms
    contract: Contract
    columns: Columns
    fresh: Columns
    network: Any
    reference: NDArray[np.float32]
    probes: Probes
    content: bytes


def make_case(name: str, folder: Path, fresh: int = FRESH) -> Case:
    """Build the network of a family, make its probes, and export it."""
    from tidegate.models.export.onnx import export_onnx
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.outputs import outputs_for
    from tidegate.models.networks.predict import predict

    settings: DecodingSettings | None = None
    if name in texts.CASES:
        schema, columns = texts.case(name)
        later = _with_rows(texts, fresh, lambda: texts.case(name)[1])
        model, settings = texts.MODELS[name], texts.DECODING[name]
    elif name == "ssd":
        columns, model, settings = boxes.drawn(), boxes.MODEL, boxes.DETECTION
        schema = infer_schema(columns, None, ["boxes"], "detection")
        later = _with_rows(boxes, fresh // 10, boxes.drawn)
    else:
        model, schema, columns, outputs = families.case(name)
        later = _with_rows(families, fresh, lambda: families.case(name)[2])
    transforms = Transforms.fit(schema, columns)
    if transforms.text_target is not None:
        outputs = outputs_for("generation", transforms.text_target.spec.vocabulary, 1)
    if transforms.box_target is not None:
        outputs = outputs_for("detection", len(boxes.LABELS), 1, grids=transforms.box_target.grids)
    network = build_model(model, transforms.input_specs, outputs, 3)
    if schema.target.task in ("classification", "generation"):
        network.layers[-1].set_weights([SURE * weight for weight in network.layers[-1].get_weights()])
    export_onnx(network, folder / f"{name}.onnx")
    probes = make_probes(KerasAnswers(network), schema, transforms, columns)
    assert probes is not None
    length = transforms.text_target.length if transforms.text_target else 0
    return Case(
        name,
        schema,
        transforms,
        Contract.of(schema, transforms.categories, settings, length),
        columns,
        later,
        network,
        ask(partial(predict, network), transforms, columns),
        probes,
        (folder / f"{name}.onnx").read_bytes(),
    )


def _with_rows(module: Any, rows: int, draw: Any) -> Columns:
    before = module.ROWS
    module.ROWS = rows
    try:
        found: Columns = draw()
    finally:
        module.ROWS = before
    return found


def proof_of(case: Case, content: bytes, folder: Path) -> tuple[bool, Probed | None]:
    """Whether held-out rows alone show a difference, and what the probes show; None: the file was refused."""
    path = folder / "mutant.onnx"
    path.write_bytes(content)
    try:
        predictor = Predictor(case.contract, case.transforms, load_model("onnx", path, threads=1))
        probed = measure_probes(predictor, load_before("onnx", path, threads=1), case.probes)
    except Exception:
        return True, None
    try:
        return not measure(predictor, case.columns, case.reference).passed, probed
    except Exception:
        return True, probed


def verdict(case: Case, mutant: Mutant, folder: Path) -> str:
    """What becomes of a mutant."""
    held_out, probed = proof_of(case, mutant.content, folder)
    if probed is None:
        return "refused"
    if not probed.passed:
        return "held-out rows" if held_out else "probes only"
    if held_out:
        return "held-out rows"
    return "missed" if _changes_an_answer(case, mutant, folder) else "no change"


def _changes_an_answer(case: Case, mutant: Mutant, folder: Path) -> bool:
    if case.name not in FRESH_ANSWERS:
        FRESH_ANSWERS[case.name] = _fresh_answers(case, case.content, folder)
    original, found = FRESH_ANSWERS[case.name], _fresh_answers(case, mutant.content, folder)
    scale = 1.0
    if case.schema.target.task in ("regression", "detection"):
        scale = max(SMALLEST_SCALE, float(np.abs(original).max()))
    difference = float(np.abs(found - original).max()) / scale
    said = "missed" if difference > TOLERANCE else "no change"
    print(f"{said}: {case.name}: {mutant.what}: {difference:.2g}", file=sys.stderr, flush=True)
    return difference > TOLERANCE


FRESH_ANSWERS: dict[str, NDArray[np.float64]] = {}


def _fresh_answers(case: Case, content: bytes, folder: Path) -> NDArray[np.float64]:
    (folder / "fresh.onnx").write_bytes(content)
    run = load_model("onnx", folder / "fresh.onnx", threads=1)
    parts = [
        ask(run, case.transforms, {key: column[start : start + 500] for key, column in case.fresh.items()})
        for start in range(0, len(next(iter(case.fresh.values()))), 500)
    ]
    return np.concatenate(parts).astype(np.float64)


VERDICTS = ("refused", "held-out rows", "probes only", "no change", "missed")


def main(count: int) -> int:
    """Print the table; the exit code is 1 if a mutant was missed."""
    random, total = np.random.default_rng(7), Counter[str]()
    print(f"| family | mutants | {' | '.join(VERDICTS)} | the file itself, of what is allowed | seconds |")
    print("|---" * (len(VERDICTS) + 4) + "|")
    with tempfile.TemporaryDirectory() as work:
        for place, name in enumerate(NAMES):
            began = time.perf_counter()
            with contextlib.redirect_stderr(io.StringIO()):
                case = make_case(name, Path(work))
            _, honest = proof_of(case, case.content, Path(work))
            assert honest is not None and honest.passed, f"{name}: {honest}"
            share = count // len(NAMES) + (place < count % len(NAMES))
            found = Counter(verdict(case, one, Path(work)) for one in mutants(case.content, share, random))
            total += found
            cells = " | ".join(str(found[each]) for each in VERDICTS)
            spent = time.perf_counter() - began
            print(f"| {name} | {share} | {cells} | {honest.share:.2g} | {spent:.0f} |", flush=True)
    print(f"| all | {total.total()} | {' | '.join(str(total[each]) for each in VERDICTS)} | | |")
    return int(total["missed"] > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
