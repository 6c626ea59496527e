"""A small bundle, and predictions in shards with it in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.small_bundles import make_bundle
from tidegate.pipelines.commands.prediction.predict import predict
from tidegate.pipelines.state.home import Home

Rows = list[dict[str, Any]]
Predict = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two numbers, x and y, and a class of four by x."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle", "quarters")


@pytest.fixture
def shards_of(tmp_path: Path, bundle: Path) -> Predict:
    """Predict in shards; the result's data."""
    home = Home(tmp_path / "home")

    def run(source: list[str], output: str | Path | None, shards: int, **more: Any) -> dict[str, Any]:
        given = {"format": None, "offline": False, **more}
        found: dict[str, Any] = predict(
            home, str(bundle), source, output and str(output), shards=shards, **given
        ).data
        return found

    return run


@pytest.fixture
def offline(tmp_path: Path, bundle: Path) -> Callable[[Path], str]:
    """What `--offline --output` writes of a file in one process, as jsonl."""

    def run(source: Path) -> str:
        output = tmp_path / f"{source.name}.one.jsonl"
        predict(Home(tmp_path / "home"), str(bundle), [str(source)], str(output), None, True)
        return output.read_text()

    return run


def some_rows(count: int, first: float = -2.0) -> Rows:
    """Rows whose class changes from row to row."""
    return [{"x": round(first + (number % 401) / 100, 2), "y": number / 1000} for number in range(count)]


def lines(rows: Rows) -> str:
    """As JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def joined(output: Path) -> str:
    """All parts, in the order of their names."""
    return "".join(path.read_text() for path in sorted(output.glob("part-*")))
