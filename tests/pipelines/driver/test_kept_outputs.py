"""What a finished step left is there for the next ones, however many there are."""

import sys
from typing import Any

from tidegate.pipelines.driver.kept_outputs import FEW, KeptOutputs


def outputs(number: int) -> dict[str, Any]:
    refs = {
        name: {"digest": f"{number:064x}", "size": number, "name": name}
        for name in ("model", "onnx", "report")
    }
    return {
        "index": number,
        "value": number / 3,
        "curve": [0.1 * number] * 30,
        "text": "Zürich",
        "none": None,
        **refs,
    }


def test_all_are_as_they_were() -> None:
    kept = KeptOutputs()
    for number in range(FEW + 500):
        kept.add(f"train-{number}", outputs(number))
    assert len(kept) == FEW + 500
    assert all(kept[f"train-{number}"] == outputs(number) for number in (0, FEW - 1, FEW, FEW + 499))
    assert list(kept) == [f"train-{number}" for number in range(FEW + 500)]
    assert "train-0" in kept
    assert "train-x" not in kept


def test_one_of_thousands_takes_little_memory() -> None:
    kept = KeptOutputs()
    for number in range(FEW + 100):
        kept.add(f"train-{number}", outputs(number))
    later = [kept._kept[f"train-{number}"] for number in range(FEW, FEW + 100)]
    assert sum(map(sys.getsizeof, later)) / 100 < 600
