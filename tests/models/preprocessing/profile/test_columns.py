import json
from pathlib import Path

import numpy as np
import pytest

from tidegate.models.datasets import DATASETS
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.look import look
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.profile.column_lines import column_lines

ROWS = 200
random = np.random.default_rng(0)
SHOP = {
    "day": [f"{1 + row % 28:02}.{1 + row % 12:02}.2025" for row in range(ROWS)],
    "city": ["Bonn", "Ulm"] * (ROWS // 2),
    "price": ["" if row % 20 == 0 else f"{random.normal():.3f}" for row in range(ROWS)],
    "label": random.permutation(["no", "yes"] * (ROWS // 2)).tolist(),
}


def written(folder, columns):
    path = folder / "shop.csv"
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines))
    return path


def test_each_column_has_a_line_in_memory_streamed_and_without_a_run(tmp_path):
    path = written(tmp_path, SHOP)
    prepared = prepare(source=path, target=["label"])
    lines = column_lines(prepared.summary["columns"])
    assert lines[:2] == [
        "day: date (by values), 84 distinct, 0 missing, such as '01.01.2025', '02.02.2025', '03.03.2025'; the model "
        "gets it as 21 numbers: days, day of month, weekday, month",
        "city: categorical (by values), 2 distinct, 0 missing, such as 'Bonn', 'Ulm'; the model gets it one-hot of 2",
    ]
    assert lines[2].startswith("price: numeric (by type), ")
    assert ", 10 missing, " in lines[2]
    assert lines[2].endswith("; the model gets it scaled")
    assert lines[3].startswith("label: target, classification, 2 distinct, 0 missing, such as ")
    assert prepared.summary["warnings"] == []
    assert json.loads(json.dumps(prepared.summary)) == prepared.summary
    assert [field.nullable for field in prepared.schema.inputs] == [False, False, True]

    def keep(shard):
        return shard.rename(tmp_path / f"kept-{shard.name}")

    streamed = prepare_streamed(
        StreamedData(path, None, None, ["label"], {}, None, None, 1 << 30, tmp_path, keep)
    )
    assert column_lines(streamed.summary["columns"]) == lines
    assert [field.nullable for field in streamed.schema.inputs] == [False, False, True]
    assert column_lines(look(source=path, target=["label"]).columns) == lines


def test_what_only_later_rows_show_is_seen_in_streamed_data(tmp_path):
    later = {
        "day": ["01.01.2025"] * 1500 + ["soon"],
        "count": [*range(1500), 0.5],
        "label": ["no", "yes"] * 750 + ["no"],
    }
    for name, stated, words in (
        ("day", {}, "holds 'soon'; expected dates of that format"),
        ("count", {"kind": "integer"}, "holds numbers that are not whole"),
    ):
        path, inputs = written(tmp_path, later), [{"name": name, **stated}]
        with pytest.raises(SchemaError, match=words):
            prepare_streamed(
                StreamedData(path, None, inputs, ["label"], {}, None, None, 1 << 30, tmp_path, Path)
            )


def test_categories_that_repeat_only_in_all_rows_are_categories_in_streamed_data(tmp_path):
    names = [f"c{row % 1000}" for row in range(4000)]
    path = written(tmp_path, {"c": names, "label": ["no", "yes"] * 2000})
    found = prepare_streamed(
        StreamedData(path, None, None, ["label"], {}, None, None, 1 << 30, tmp_path, Path)
    )
    assert found.schema.inputs[0].kind == "categorical"


def test_a_rule_for_missing_values_lets_a_request_leave_them_out(tmp_path):
    path = written(tmp_path, SHOP)
    stated = prepare(
        source=path, target=["label"], inputs=[{"name": "city", "missing": "own"}, {"name": "day"}]
    )
    assert [field.nullable for field in stated.schema.inputs] == [True, False]
    assert [
        field.missing for field in prepare(source=path, target=["label"], missing="mean").schema.inputs
    ] == [
        "zero",
        "zero",
        "mean",
    ]


def test_a_look_names_every_column_that_would_be_refused(tmp_path):
    ids = {"id": [f"u{row}" for row in range(ROWS)], "size": [f"{row} kg" for row in range(ROWS)]}
    path = written(tmp_path, SHOP | ids)
    with pytest.raises(SchemaError, match="column 'id'"):
        prepare(source=path, target=["label"])
    seen = look(source=path)
    assert [entry["name"] for entry in seen.columns if entry["kind"] == "refused"] == ["id", "size"]
    assert seen.rows == ROWS


TOLD = {
    "has one value in all rows": ["7"] * ROWS,
    "counts the rows": list(range(ROWS)),
    "equals the target": SHOP["label"],
    "alone predicts the target 'label' in 100.0%": [f"{text}!" for text in SHOP["label"]],
    "alone predicts the target 'label' in": [
        5 + random.random() if text == "yes" else random.random() for text in SHOP["label"]
    ],
    "has no value in any row": [""] * ROWS,
    "holds 'No' and 'no', 'YES ' and 'Yes' and 'yes', which differ only in case or spaces": [
        ["no", "No", "yes", "YES ", "Yes"][row % 5] for row in range(ROWS)
    ],
    "numbers with a unit": [f"{10 * (row % 9)} kg" for row in range(ROWS)],
}


@pytest.mark.parametrize("sentence", TOLD)
def test_what_looks_wrong_is_told(tmp_path, sentence):
    path = written(tmp_path, {"x": TOLD[sentence]} | SHOP)
    told = prepare(source=path, target=["label"]).summary
    assert any("column 'x' " in one and sentence in one for one in told["warnings"]), told["warnings"]
    entry = next(entry for entry in told["columns"] if entry["name"] == "x")
    assert entry["warnings"]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (lambda y: 2 * y + 1, "correlation of 1.0000"),
        (lambda y: y + 0.03 * random.normal(size=len(y)), "correlation of 0.999"),
        (lambda y: y + random.normal(size=len(y)), None),
    ],
)
def test_a_number_that_equals_a_quantity_is_told(tmp_path, column, told):
    y = random.normal(size=ROWS)
    path = written(
        tmp_path, {"x": column(y).tolist(), "other": random.normal(size=ROWS).tolist(), "y": y.tolist()}
    )
    found = prepare(source=path, target=["y"]).summary["warnings"]
    assert any(told in one for one in found) if told else found == []


def test_alike_columns_share_a_line_and_a_sentence(tmp_path):
    pixels = {f"pixel{place}": random.integers(0, 256, ROWS).tolist() for place in range(60)}
    blank = {f"blank{place}": [0] * ROWS for place in range(8)}
    path = written(tmp_path, {"label": SHOP["label"]} | pixels | blank)
    summary = prepare(source=path, target=["label"]).summary
    lines = column_lines(summary["columns"])
    assert len(lines) == 3
    assert lines[0].startswith("pixel0 … pixel59 (60 columns): numeric (by type), ")
    constant = [one for one in summary["warnings"] if "one value in all rows" in one]
    assert len(constant) == 1
    assert "and 3 more" in constant[0]


@pytest.mark.parametrize("name", ["wine", "diabetes", "line"])
def test_nothing_looks_wrong_with_the_built_in_tables(name):
    assert DATASETS[name]
    assert prepare(dataset=name).summary["warnings"] == []
