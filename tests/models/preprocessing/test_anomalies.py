"""Known anomalies: no input, not learned from, and still among the test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import DataError
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.target.anomalies import known_anomalies

ANOMALY = {"label": "broken", "alarms": 0.05}


def prepared(folder: Path, broken: str = "01", **asked: Any) -> Prepared:
    random = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{b:.3f},{broken[0] if at % 10 else broken[1]}"
        for at, (a, b) in enumerate(random.normal(size=(100, 2)))
    ]
    (folder / "rows.csv").write_text("\n".join(["a,b,broken", *rows]) + "\n")
    stated = {"anomaly": ANOMALY, "split": {"validation": 0.2, "test": 0.3}} | asked
    return prepare(source=folder / "rows.csv", **stated)


@pytest.mark.parametrize("broken", ["01", ("false", "true")])
def test_they_are_no_input_and_not_learned_from(tmp_path: Path, broken: Any) -> None:
    found = prepared(tmp_path, broken)
    target = found.schema.target
    assert (target.task, target.shape, target.units) == ("anomaly", (2,), 1)
    assert (target.label, target.alarms) == ("broken", 0.05)
    assert [field.name for field in found.schema.inputs] == ["a", "b"]
    known = {name: known_anomalies(target, part) for name, part in found.splits.items()}
    assert not known["train"].any() and not known["validation"].any() and known["test"].sum() > 0
    lost = 100 - sum(map(len, known.values()))
    assert lost > 0 and lost + known["test"].sum() == 10
    assert any(
        "are known anomalies (broken) and are not learned from" in text for text in found.summary["warnings"]
    )
    inputs = found.transforms.apply(found.splits["train"])
    np.testing.assert_array_equal(
        found.transforms.target(found.schema, found.splits["train"]), inputs["features"]
    )


def test_a_label_is_not_needed(tmp_path: Path) -> None:
    found = prepared(tmp_path, anomaly={"label": None, "alarms": 0.05}, inputs=[{"name": "a"}, {"name": "b"}])
    assert np.isnan(known_anomalies(found.schema.target, found.splits["test"])).all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"anomaly": {"label": "brokn", "alarms": 0.1}}, "data.anomaly.label 'brokn'.*did you mean 'broken'"),
        ({"anomaly": {"label": "a", "alarms": 0.1}}, "expected 0 or 1, or true or false"),
        (
            {"inputs": [{"name": "broken", "kind": "id"}], "anomaly": {"label": None, "alarms": 0.1}},
            "data.anomaly is stated, so that the model learns to answer its input.*expected one input of numbers",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, **asked)


def test_there_must_be_usual_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train rows are known anomalies.*expected usual ones"):
        prepared(tmp_path, "11")
