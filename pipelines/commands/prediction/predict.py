"""predict: the predictions of an endpoint, or of a bundle, for any number of rows."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidegate.infra.system.strict_json import strict_json
from tidegate.models.data.data_warnings import recorded
from tidegate.pipelines.batch import BatchInput, open_batch_input
from tidegate.pipelines.batch.output_file import Named, Numbered, format_of, writing
from tidegate.pipelines.batch.progress_bar import ProgressBar
from tidegate.pipelines.batch.wording import of_options
from tidegate.pipelines.commands.csv_options import csv_options
from tidegate.pipelines.commands.prediction.bundle_source import source_of
from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.hosting import ensure_live, hosting
from tidegate.pipelines.result import Result
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.client import Client, api_key
from tidegate.serving.inference.bulk_scoring import (
    IN_FLIGHT,
    OFFLINE_THREADS,
    EndpointScorer,
    ScoredChunk,
    Scorer,
    bundle_scorer,
    chunk_rows,
    score,
)


def predict(
    home: Home,
    name: str,
    source: Sequence[str] | None,
    output: str | None,
    format: str | None,
    offline: bool,
    key_file: str | None = None,
    csv: Sequence[str] = (),
    release: int | None = None,
    shards: int | None = None,
    detach: bool = False,
    cpu: float | None = None,
    memory: str | None = None,
    parallel: int | None = None,
) -> Result:
    """Predict the rows of a file.

    Args:
        home: the home.
        name: the endpoint, or its http(s) URL, whoever deployed it; with `offline` also a bundle's folder.
        source: a file, a folder of images or several image files, see `tidegate.pipelines.batch`; None or "-": JSON on
            stdin.
        output: a .csv or .jsonl to write, as answers come; None: all predictions in the result.
        format: csv or jsonl; None: as the output's suffix names it.
        offline: predict here from the live release's bundle, without a server.
        key_file: its first line is the endpoint's API key; None: `$TIDEGATE_API_KEY`, if it is set.
        csv: KEY=VALUE of the dialect of a .csv; what is not stated is found out.
        release: with `offline` or `shards`, another release than the live one.
        shards: predict many files into a folder or a bucket in so many parts, see `predict_sharded`.
        detach, cpu, memory, parallel: of the Job that does so on a cluster.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the file cannot be read as rows, or the output cannot be written.
        ScoringError: a row was refused, or the endpoint does not answer; names the rows.
        ClientError: the endpoint does not give its contract, or needs another key.
    """
    if shards is not None:
        if key_file is not None:
            raise UsageError("--key-file is given with --shards, which asks no server; leave it out")
        # Importing them takes half as long as all the rest does, which a prediction of a few rows would wait for.
        from tidegate.pipelines.commands.prediction.sharded import predict_sharded
        from tidegate.pipelines.sharded_prediction.job import PodSize

        pods = PodSize(cpu, memory, parallel)
        return predict_sharded(home, name, source, output, format, csv, shards, release, detach, pods)
    alone = {
        "--release": None if offline else release,
        "--detach": detach or None,
        "--cpu": cpu,
        "--memory": memory,
        "--parallel": parallel,
    }
    if unused := [option for option, value in alone.items() if value is not None]:
        other = "--offline or --shards" if unused[0] == "--release" else "--shards"
        raise UsageError(
            f"{unused[0]} is given without {other}; expected both; add it, or leave {unused[0]} out"
        )
    if format is not None and output is None:
        raise UsageError(
            f"--format {format} is given alone; expected --output FILE too; add it, or leave --format out"
        )
    kind = None if output is None else format_of(Path(output), format)
    dialect = csv_options(csv)
    key = None if offline else api_key(None if key_file is None else Path(key_file))
    opened = _offline(home, name, release) if offline else asking(home, name, key)
    with _told(), opened as (ask, contract):
        batch = open_batch_input(
            source or [], contract["inputs"], chunk_rows(contract), bool(contract.get("detection")), dialect
        )
        scored = score(batch.chunks, ask, OFFLINE_THREADS if offline else IN_FLIGHT)
        if output is None or kind is None:
            return _shown(list(_watched(batch, scored)))
        return _written(batch, scored, Path(output), kind, contract)


@contextmanager
def _told() -> Iterator[None]:
    """What is noticed about the file, on stderr."""
    with recorded() as sentences:
        yield
    for sentence in sentences:
        print(f"warning: {of_options(sentence)}", file=sys.stderr)


@contextmanager
def asking(home: Home, name: str, key: str | None) -> Iterator[tuple[Scorer, dict[str, Any]]]:
    """What asks an endpoint, which is started when it does not run, and its contract.

    Args:
        home: the home.
        name: the endpoint, or its URL.
        key: its API key; None: none.

    Raises:
        UnknownNameError, ClientError: no such endpoint; it does not give its contract.
    """
    url, trust = name, None
    if "://" not in name:
        state = require_endpoint(home, name)
        url, trust = hosting(home).url(state), hosting(home).trust(state)
        ensure_live(home, name)  # after a reboot or `down`
    with Client(url, key=key, trust=trust) as client:
        contract = client.contract()
    ask = EndpointScorer(url, key, trust)
    try:
        yield ask, contract
    finally:
        ask.close()


@contextmanager
def _offline(home: Home, name: str, number: int | None) -> Iterator[tuple[Scorer, dict[str, Any]]]:
    found = source_of(home, name, number)
    yield bundle_scorer(found.folder, found.name, found.release.number if found.release else None)


def _watched(batch: BatchInput, scored: Iterator[ScoredChunk]) -> Iterator[ScoredChunk]:
    bar = ProgressBar(batch.total)
    try:
        for part in scored:
            bar.add(len(part.predictions))
            yield part
    finally:
        bar.close()


def _shown(parts: list[ScoredChunk]) -> Result:
    predictions = [prediction for part in parts for prediction in part.predictions]
    text = "\n".join(strict_json(prediction, ensure_ascii=False) for prediction in predictions)
    head = {"model": parts[0].model, "release": parts[0].release}
    return Result(head | {"predictions": predictions}, text)


def _written(
    batch: BatchInput, scored: Iterator[ScoredChunk], output: Path, kind: str, contract: dict[str, Any]
) -> Result:
    began, rows, releases = time.monotonic(), 0, list[int | None]()
    keys = Numbered() if batch.names is None else Named(batch.names)
    with writing(output, kind, contract, keys) as write:
        for part in _watched(batch, scored):
            write(part.predictions, part.start)
            rows += len(part.predictions)
            releases += [part.release] if part.release not in releases else []
            model = part.model
    seconds = round(time.monotonic() - began, 3)
    data = {"model": model, "release": releases[-1], "releases": releases, "output": str(output)}
    changed = "" if len(releases) == 1 else f"; the release changed meanwhile: {releases}"
    text = f"{rows} rows predicted into {output} ({kind}) in {seconds:.1f} s{changed}"
    return Result(data | {"format": kind, "rows": rows, "seconds": seconds}, text)
