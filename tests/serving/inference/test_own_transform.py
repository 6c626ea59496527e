"""A transform of the user's own at the endpoint: raw rows in, one or many, and a row that it refuses harms no other."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.serving.conftest import PROOF, write_onnx
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.user_code.code_folder import FILES, CodeFolder, write_code
from tidegate.models.user_code.project import use_project
from tidegate.serving.bundle.bundle import open_bundle, write_bundle
from tidegate.serving.bundle.own_packages import own_packages
from tidegate.serving.dialects import ServedModel
from tidegate.serving.errors import ModelLoadError
from tidegate.serving.inference.engine import InferenceEngine, Latency, Response
from tidegate.serving.inference.predictor import Predictor, example_rows

FEATURES = """import numpy as np
import pandas as pd


def transform(table: pd.DataFrame):
    if (table["amount"] < 0).any():
        raise ValueError(f"no amount is {table['amount'].min()}")
    return {
        "log": np.log1p(table["amount"]),
        "weekday": pd.to_datetime(table["day"]).dt.day_of_week,
        "vip": table["plan"].eq("gold") & (table["amount"] != 7),
    }
"""
DAYS = 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project, its data, and a bundle of its transform and a small network."""
    root = tmp_path_factory.mktemp("own")
    (root / FILES / "shop").mkdir(parents=True)
    (root / FILES / "shop" / "__init__.py").write_text("")
    (root / FILES / "shop" / "features.py").write_text(FEATURES)
    rows = [
        f"{row},2025-{row // 30 + 1:02}-{row % 28 + 1:02},{row % 9 + 0.5},{'gold' if row % 4 else 'free'},{row % 2}"
        for row in range(DAYS)
    ]
    (root / "rows.csv").write_text("\n".join(["customer,day,amount,plan,bought", *rows]) + "\n")
    document = write_code(root, CodeFolder(transform="shop.features:transform"))
    use_project([root / FILES])
    prepared = prepare(source=root / "rows.csv", target=["bought"], transform="shop.features:transform")
    _write(root, prepared, document)
    yield root
    use_project([])


def _write(root: Path, prepared: Prepared, document: Path) -> None:
    ((given, spec),) = prepared.transforms.input_specs.items()
    write_onnx(root / "m.onnx", given, spec.shape, 2, "Softmax")
    write_bundle(
        root / "bundle",
        name="shop",
        run="run-1",
        trial="trial-1",
        schema=prepared.schema,
        transforms=prepared.transforms,
        model=root / "m.onnx",
        runtime="onnx",
        parity=PROOF,
        sample=example_rows(prepared.schema, prepared.splits["test"]),
        versions={},
        code=document,
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> InferenceEngine:
    bundle = open_bundle(folder / "bundle")
    served = ServedModel("shop", 1, bundle.contract)
    return InferenceEngine(Predictor.of(bundle), served, Latency(1e-4, 1e-4), bundle.sample, batch=8)


def _row(amount: float, **more: object) -> dict[str, object]:
    return {"day": "2025-02-03", "amount": amount, "plan": "gold", **more}


def _asked(engine: InferenceEngine, *rows: dict[str, object]) -> Response:
    return engine.answer(engine.default_dialect, json.dumps({"rows": rows}).encode(), {})


def test_the_contract_is_of_the_raw_columns_that_it_reads(engine: InferenceEngine) -> None:
    contract = engine.served.contract
    assert [(entry.name, entry.kind) for entry in contract.inputs] == [
        ("day", "date"),
        ("amount", "numeric"),
        ("plan", "categorical"),
    ]
    assert contract.inputs[2].categories == ("free", "gold")
    assert all(
        entry.missing == "null is refused, because no row of the data lacks the value"
        for entry in contract.inputs
    )


def test_one_row_and_many_give_what_the_function_and_the_network_give(engine: InferenceEngine) -> None:
    amounts = np.linspace(0, 30, 40)
    together = json.loads(_asked(engine, *(_row(amount) for amount in amounts)).body)["predictions"]
    alone = [json.loads(_asked(engine, _row(amount)).body)["predictions"][0] for amount in amounts]
    features = np.stack([np.log1p(amounts), np.zeros(40), amounts != 7], axis=1).astype(np.float32)
    expected = engine.predictor.run({"features": features})
    for found in (together, alone):
        assert np.abs(np.array([one["probabilities"] for one in found]) - expected).max() < 1e-6


def test_a_row_that_it_refuses_is_named(engine: InferenceEngine) -> None:
    answer = _asked(engine, _row(1), _row(2), _row(-4), _row(3))
    error = json.loads(answer.body)["error"]
    assert answer.status == 400 and error["row"] == 2 and answer.kind == "contract"
    assert "shop/features.py:7" in error["received"] and "ValueError: no amount is -4.0" in error["received"]


def test_in_a_batch_only_the_request_with_the_refused_row_fails(engine: InferenceEngine) -> None:
    amounts = [1.0, -1.0] * 12
    answers: list[int] = [0] * len(amounts)
    begin = threading.Barrier(len(amounts))

    def ask(place: int) -> None:
        begin.wait()
        answers[place] = _asked(engine, _row(amounts[place])).status

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(amounts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200, 400] * 12


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (_row(1, customer=3), "a field the model does not have"),
        ({"amount": 1.0, "plan": "gold"}, "no such field in the row"),
        (_row(1, day="soon"), "a date as text"),
        ({**_row(1), "amount": "1"}, "send the number without quotes"),
        ({**_row(1), "amount": None}, "null"),
    ],
)
def test_raw_values_are_checked_before_it_sees_them(
    row: dict[str, object], words: str, engine: InferenceEngine
) -> None:
    answer = _asked(engine, row)
    assert answer.status == 400 and words in answer.body.decode()


def test_categories_that_the_data_did_not_have_are_counted(engine: InferenceEngine) -> None:
    assert _asked(engine, _row(1, plan="platinum"), _row(1)).unseen == {"plan": 1}


def test_a_transform_whose_code_is_gone_is_an_error_at_the_start(folder: Path) -> None:
    bundle = open_bundle(folder / "bundle")
    use_project([])
    (folder / "bundle" / FILES / "shop" / "features.py").rename(folder / "kept.py")
    try:
        with pytest.raises(ModelLoadError, match="there is no module shop"):
            Predictor.of(bundle)
    finally:
        (folder / "kept.py").rename(folder / "bundle" / FILES / "shop" / "features.py")


def test_an_endpoint_gets_the_packages_that_it_imports(folder: Path) -> None:
    found = own_packages(open_bundle(folder / "bundle"))
    assert found == {"numpy": np.__version__, "pandas": pd.__version__}


def test_two_bundles_whose_modules_have_the_same_names_keep_their_own(folder: Path, tmp_path: Path) -> None:
    """As candidate and champion, which one process compares."""
    (tmp_path / FILES / "shop").mkdir(parents=True)
    (tmp_path / FILES / "shop" / "__init__.py").write_text("")
    (tmp_path / FILES / "shop" / "features.py").write_text(FEATURES.replace("log1p", "sqrt"))
    use_project([tmp_path / FILES])
    prepared = prepare(source=folder / "rows.csv", target=["bought"], transform="shop.features:transform")
    _write(tmp_path, prepared, write_code(tmp_path, CodeFolder(transform="shop.features:transform")))
    first, second = (Predictor.of(place / "bundle") for place in (folder, tmp_path))
    rows = first.reader.parse_rows([_row(9)])
    assert first.inputs(rows)["features"][0, 0] == pytest.approx(np.log1p(9))
    assert second.inputs(rows)["features"][0, 0] == pytest.approx(3)
