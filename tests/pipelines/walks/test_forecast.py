"""From a table in the order of time to an endpoint that forecasts, in every dialect."""

import csv
import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Cli
from tests.pipelines.walks.asking import asked

EXPERIMENT = """
name: sales
data:
  source: sales.csv
  target: sold
  split: {time: day}
  forecast: {past: 14, horizon: 3, known: [open], quantiles: [0.25, 0.5, 0.75], season: 7}
model: {family: tide, width: 16, layers: 1, dropout: 0, season: 7}
training: {epochs: 12, batch_size: 32, optimizer: {name: adam, learning_rate: 0.005}}
gate: {metric: test_mase, maximum: 0.8}
"""


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years of days: a week's wave, and nothing sold where the shop is closed, which is known before."""
    folder, random = tmp_path_factory.mktemp("sales"), np.random.default_rng(1)
    days = np.datetime64("2023-01-01") + np.arange(730)
    opened = random.random(730) > 0.15
    sold = opened * (50 + 20 * np.sin(np.arange(730) * 2 * np.pi / 7) + random.normal(size=730))
    with (folder / "sales.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["day", "open", "sold"])
        rows = zip(days, opened, sold, strict=True)
        table.writerows([str(day), int(is_open), f"{value:.2f}"] for day, is_open, value in rows)
    path = folder / "sales.yaml"
    path.write_text(EXPERIMENT)
    return path


def test_a_series_goes_the_whole_way(cli: Cli, sales: Path) -> None:
    answer = cli.ok("submit", str(sales))
    assert answer["status"] == "done" and answer["runtime"] == "onnx"
    metrics = answer["metrics"]
    assert (
        metrics["test_mase"] < 0.8 and 0 <= metrics["test_coverage"] <= 1 and "validation_pinball" in metrics
    )
    wave = (50 + 20 * np.sin(np.arange(700, 717) * 2 * np.pi / 7)).tolist()
    row = {"sold_past": wave[:14], "open": [1] * 17}
    closed = {**row, "open": [1] * 15 + [0, 1]}
    rows = [row, closed]
    online = cli.ok("predict", "sales", stdin=json.dumps(rows))["predictions"]
    offline = cli.ok("predict", "sales", "--offline", stdin=json.dumps(rows))["predictions"]
    for found in (online, offline):
        np.testing.assert_allclose(found[0]["forecast"], wave[14:], atol=15)
        assert found[1]["forecast"][1] < found[0]["forecast"][1] - 20  # the plan of the second day counts
        for one in found:
            assert one["quantiles"]["0.5"] == one["forecast"]
            assert (np.diff([one["quantiles"][name] for name in ("0.25", "0.5", "0.75")], axis=0) >= 0).all()
    expected = np.stack([[one["quantiles"][name] for name in ("0.25", "0.5", "0.75")] for one in online])
    expected = expected.swapaxes(1, 2)
    url = answer["endpoint"]
    served = asked(f"{url}/v1/models/sales:predict", {"instances": rows})["predictions"]
    np.testing.assert_allclose(served, expected, rtol=1e-5)
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [2, len(row[name])], "data": [one[name] for one in rows]}
        for name in row
    ]
    (tensor,) = asked(f"{url}/v2/models/sales/infer", {"inputs": inputs})["outputs"]
    assert tensor["name"] == "predictions" and tensor["shape"] == [2, 3, 3]
    np.testing.assert_allclose(np.reshape(tensor["data"], (2, 3, 3)), expected, rtol=1e-5)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        asked(f"{url}/predict", {"rows": [{**row, "open": [1] * 14}]})
    lines = sales.with_name("rows.jsonl")
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n")
    output = sales.with_name("out.jsonl")
    assert cli.ok("predict", "sales", "--input", str(lines), "--output", str(output))["rows"] == 2
    written = [json.loads(line) for line in output.read_text().splitlines()]
    np.testing.assert_allclose(written[1]["forecast"], online[1]["forecast"], rtol=1e-5)


def test_a_backtest_rolls_its_origin_through_the_series(cli: Cli, sales: Path) -> None:
    words = ("data.split.folds=2", "training.epochs=4", "gate={metric: folds_mase_mean, maximum: 2}")
    answer = cli.ok("submit", str(sales), *(part for word in words for part in ("--set", word)))
    metrics = answer["metrics"]
    assert metrics["folds_mase_std"] >= 0 and 0 < metrics["folds_mase_mean"] < 2
    assert {name for name in metrics if name.startswith("folds_pinball")} == {
        "folds_pinball_mean",
        "folds_pinball_std",
    }


def test_what_no_series_has_is_refused_before_a_step_runs(cli: Cli, sales: Path) -> None:
    wrong = cli("plan", str(sales), "--set", "model.family=cnn", "--set", "training.loss=mse")
    assert wrong.code == 2 and "expected one of: pinball" in wrong.stderr
    wrong = cli("plan", str(sales), "--set", "model={family: ssd}")
    assert wrong.code == 2 and "family 'ssd' does not support a forecasting" in wrong.stderr
