"""Lists in rows, from the file to the endpoint: bags of ids beside hashed ids and two texts, a label for each token."""

from __future__ import annotations

import csv
import json
import random
import unicodedata
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

SHOP = """
name: shop
data:
  source: ./orders.jsonl
  target: kept
  inputs:
    - {name: items, kind: ids}
    - {name: customer, kind: id, hashed: 50}
    - {name: review, kind: text}
    - {name: note, kind: text}
model: {family: text, embedding: 8, dense: [8], dropout: 0}
training: {epochs: 12, batch_size: 16, optimizer: {name: adam, learning_rate: 0.03}}
gate: {metric: test_accuracy, minimum: 0.8}
"""
NAMES = """
name: people
data:
  source: ./sentences.jsonl
  inputs: [{name: words, kind: tokens}]
  target: {name: tags, kind: tags}
model: {family: transformer, width: 16, feed_forward: 16, layers: 1, heads: 2, dropout: 0}
training: {epochs: 12, batch_size: 16, optimizer: {name: adam, learning_rate: 0.02}}
gate: {metric: test_entity_f1, minimum: 0.8}
"""
PEOPLE, VERBS = ("Ann", "Bob", "Cid", "Dora"), ("met", "saw", "left")


def written(folder: Path, document: str, name: str, rows: list[dict[str, Any]]) -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "experiment.yaml"
    path.write_text(document)
    return path


def orders() -> list[dict[str, Any]]:
    """Kept are orders whose review says 好 or that have item 1000000007; the rest is chance."""
    chance, rows = random.Random(4), []
    for row in range(240):
        kept, words = row % 2 == 0, chance.choice(("good", "fine", "so so and more"))
        items = [10**6 + chance.randrange(20, 40) for _ in range(chance.randrange(4))]
        by_item = kept and row % 4 == 0
        review = f"这件{'东西' if by_item or not kept else '东西很好'}第{row}次买了"
        items += [10**9 + 7] if by_item else []
        rows.append(
            {"items": items, "customer": f"c{row % 90}", "review": review, "note": words, "kept": "ny"[kept]}
        )
    return rows


def sentences() -> list[dict[str, Any]]:
    chance, rows = random.Random(5), []
    for row in range(240):
        words, tags = [str(row)], ["O"]
        for _ in range(chance.randrange(1, 4)):
            name = [chance.choice(PEOPLE), *(["Smith"] if chance.random() < 0.4 else [])]
            words += [*name, chance.choice(VERBS)]
            tags += ["B-PER", *["I-PER"] * (len(name) - 1), "O"]
        rows.append({"words": words, "tags": tags})
    return rows


def posted(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_bags_hashed_ids_and_two_texts_go_the_whole_way(cli: Cli, tmp_path: Path) -> None:
    rows = orders()
    answer = cli.ok("submit", str(written(tmp_path, SHOP, "orders.jsonl", rows)))
    assert answer["status"] == "done" and answer["runtime"] == "onnx" and answer["parity"] < 1e-4
    some = [{key: value for key, value in row.items() if key != "kept"} for row in rows[:3]]
    some.append({"items": ["never"], "customer": "new", "review": "ガラス", "note": "unheard"})
    own = posted(f"{answer['endpoint']}/predict", {"rows": some})["predictions"]
    told = [row["probabilities"] for row in own]
    as_text = [row | {"items": json.dumps(row["items"])} for row in some]
    tf = posted(f"{answer['endpoint']}/v1/models/shop:predict", {"instances": as_text})["predictions"]
    inputs = [
        {"name": name, "datatype": "BYTES", "shape": [4], "data": [row[name] for row in as_text]}
        for name in some[0]
    ]
    v2 = posted(f"{answer['endpoint']}/v2/models/shop/infer", {"inputs": inputs})["outputs"][0]["data"]
    assert [number for row in tf for number in row] == pytest.approx(
        [n for row in told for n in row], abs=1e-6
    )
    assert v2 == pytest.approx([number for row in told for number in row], abs=1e-6)
    decomposed = [row | {"review": unicodedata.normalize("NFD", row["review"])} for row in some]
    again = posted(f"{answer['endpoint']}/predict", {"rows": decomposed})["predictions"]
    assert again == own
    output = tmp_path / "out.csv"
    source = str(tmp_path / "orders.jsonl")
    assert cli.ok("predict", "shop", "--input", source, "--output", str(output))["rows"] == 240
    with output.open() as stream:
        found = [row["label"] for row in csv.DictReader(stream)]
    right = sum(label == row["kept"] for label, row in zip(found, rows, strict=True))
    assert right > 200
    refused = cli("predict", "shop", stdin=json.dumps([some[0] | {"items": [1.5]}]))
    assert refused.code != 0 and "expected an array of texts or whole numbers" in refused.stderr


def test_tokens_get_labels_the_whole_way(cli: Cli, tmp_path: Path) -> None:
    rows = sentences()
    answer = cli.ok("submit", str(written(tmp_path, NAMES, "sentences.jsonl", rows)))
    assert answer["status"] == "done" and answer["runtime"] == "onnx" and answer["parity"] < 1e-4
    names = {"entity_f1", "accuracy", "loss", "f1"}
    assert {f"test_{name}" for name in names} <= set(answer["metrics"])
    asked = [row["words"] for row in rows[:4]] + [["7", "Dora", "met"], []]
    own = posted(f"{answer['endpoint']}/predict", {"rows": asked})["predictions"]
    assert [len(row["labels"]) for row in own] == [len(words) for words in asked]
    assert own[4]["labels"] == ["O", "B-PER", "O"] and own[5] == {"labels": [], "probability": []}
    tf = posted(f"{answer['endpoint']}/v1/models/people:predict", {"instances": asked})["predictions"]
    v2 = posted(
        f"{answer['endpoint']}/v2/models/people/infer",
        {
            "inputs": [
                {
                    "name": "words",
                    "datatype": "BYTES",
                    "shape": [6, 1],
                    "data": [json.dumps(words) for words in asked],
                }
            ]
        },
    )["outputs"]
    labels = next(one for one in v2 if one["name"] == "labels")
    flat = iter(labels["data"])
    for row, words, other in zip(own, asked, tf, strict=True):
        assert other["labels"][: len(words)] == row["labels"]
        assert not any(other["labels"][len(words) :])
        assert [next(flat) for _ in range(labels["shape"][1])] == other["labels"]
    output = tmp_path / "out.jsonl"
    cli.ok("predict", "people", "--input", str(tmp_path / "sentences.jsonl"), "--output", str(output))
    found = [json.loads(line)["labels"] for line in output.read_text().splitlines()]
    right = sum(labels == row["tags"] for labels, row in zip(found, rows, strict=True))
    assert right > 200
