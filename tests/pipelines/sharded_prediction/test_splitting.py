"""Which rows are whose: each byte, each chunk and each row is in exactly one shard, in order."""

import random

import pytest

from tidegate.models.errors import ModelsError
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.sharded_prediction.document import InputFile
from tidegate.pipelines.sharded_prediction.splitting import pieces_of
from tidegate.pipelines.sharded_prediction.units import units_of

NUMBER = {"name": "x", "kind": "numeric", "dtype": "float64", "shape": []}
IMAGE = {"name": "x", "kind": "image", "dtype": "uint8", "shape": [8, 8]}


@pytest.mark.parametrize("seed", range(50))
def test_each_chunk_is_in_one_shard_and_in_order(seed: int) -> None:
    dice = random.Random(seed)
    sizes = [dice.choice([0, 1, 7, 1000, 10**12]) for _ in range(dice.randint(1, 12))]
    chunks = [dice.randint(0, 40) for _ in sizes]
    shards = dice.randint(1, 30)
    seen = [
        (piece.unit, chunk)
        for shard in range(shards)
        for piece in pieces_of(sizes, shards, shard)
        for chunk in range(*piece.bounds(chunks[piece.unit]))
    ]
    assert seen == [(unit, chunk) for unit, count in enumerate(chunks) for chunk in range(count)]


def test_one_file_is_shared_evenly() -> None:
    counts = [
        last - first for shard in range(4) for first, last in [next(pieces_of([999], 4, shard)).bounds(100)]
    ]
    assert sum(counts) == 100
    assert max(counts) - min(counts) <= 2


def _files(*names: str) -> list[InputFile]:
    return [InputFile(path=f"/data/{name}", size=10, etag="e") for name in names]


def test_images_go_in_groups_of_a_chunk() -> None:
    units = units_of(_files("a.png", "b.png", "c.png"), [IMAGE], 2)
    assert [(len(unit.files), unit.size, unit.are_rows) for unit in units] == [(2, 20, True), (1, 10, True)]


@pytest.mark.parametrize(
    ("names", "words"),
    [(("a.csv", "notes.doc"), "notes.doc: the format is unknown"), (("a.csv", "b.png"), "is one row and")],
)
def test_what_cannot_be_predicted_together(names: tuple[str, ...], words: str) -> None:
    with pytest.raises((UsageError, ModelsError), match=words):
        units_of(_files(*names), [NUMBER], 2)
