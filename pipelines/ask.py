"""predict and serve: asking an endpoint, and running its server in the foreground."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from infra.errors import InfraError
from models.errors import ModelsError
from pipelines.address import require_endpoint
from pipelines.answer import outputs_of
from pipelines.bundles import fetch_bundle
from pipelines.errors import UsageError
from pipelines.home import Home
from pipelines.hosting import ensure_live, hosting
from pipelines.ports import FIRST_PORT, port_is_free
from pipelines.result import Result
from serving.client import Client
from serving.handover import server_argv


def predict(home: Home, name: str, source: str | None) -> Result:
    """Ask an endpoint for the rows of a file.

    Args:
        home: the home.
        name: the endpoint.
        source: a .json (a list of rows, or {"rows": [...]}), .jsonl, .csv or .npz file; None or "-": JSON on stdin.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the file can not be read as rows.
        ClientError: the endpoint refused a row, or does not answer.
    """
    url = hosting(home).url(require_endpoint(home, name))
    ensure_live(home, name)  # after a reboot or `down`
    with Client(url) as client:
        rows = _rows(source, [field["name"] for field in client.contract()["inputs"]])
        answers = list(client.answers(rows))
    predictions = [prediction for answer in answers for prediction in answer["predictions"]]
    head = {"model": answers[0]["model"], "release": answers[0]["release"]}
    text = "\n".join(json.dumps(prediction, ensure_ascii=False) for prediction in predictions)
    return Result(head | {"predictions": predictions}, text)


def _rows(source: str | None, inputs: list[str]) -> list[Any]:
    if source in (None, "-"):
        return _listed(sys.stdin.read(), "stdin")
    path = Path(str(source))
    try:
        if path.suffix == ".json":
            return _listed(path.read_text(encoding="utf-8"), str(path))
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines if line.strip()]
        return _columns(path, inputs)
    except (OSError, ValueError, ModelsError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--input {path}: can not be read as rows: {reason}") from error


def _listed(text: str, where: str) -> list[Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f'{where}: not JSON: {error}; expected a list of rows or {{"rows": [...]}}'
        ) from error
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise UsageError(f'{where}: expected a list of rows or {{"rows": [...]}}; received {text[:60]}')
    return rows


def _columns(path: Path, inputs: list[str]) -> list[Any]:
    """Rows of any format that an experiment reads; columns that are no inputs are left out."""
    from models.columns import rows_of
    from models.datasets import load
    from serving.predictor import sample_rows

    columns = load(source=path)
    missing = [name for name in inputs if name not in columns]
    if missing:
        raise UsageError(f"--input {path}: it lacks {', '.join(missing)}; it has {', '.join(columns)}")
    return sample_rows({name: columns[name] for name in inputs}, rows_of(columns))


def serve(home: Home, run_or_bundle: str, port: int | None) -> Result:
    """Become the endpoint's server, until Ctrl-C; nothing is deployed.

    Args:
        home: the home.
        run_or_bundle: a run that was packaged, or the folder of a bundle.
        port: on 127.0.0.1; None for the first free one from 3000 on.
    """
    folder, name = _bundle(home, run_or_bundle)
    port = port or next(number for number in range(FIRST_PORT, 65536) if port_is_free(number))
    control = home.path / "endpoints" / f"serve-{os.getpid()}.sock"
    print(f"serving {folder} at http://127.0.0.1:{port}/predict; Ctrl-C ends it", file=sys.stderr, flush=True)
    argv = server_argv(folder, name, None, control, port)
    os.execv(argv[0], argv)


def _bundle(home: Home, run_or_bundle: str) -> tuple[Path, str]:
    folder = Path(run_or_bundle)
    if (folder / "bundle.json").is_file():
        return folder, json.loads((folder / "bundle.json").read_text())["name"]
    record = home.run_folder(run_or_bundle).read()
    packaged = outputs_of(home, record, "package")
    if not packaged:
        raise UsageError(
            f"run {record.run} is {record.status} and was not packaged; there is nothing to serve"
        )
    try:
        return fetch_bundle(home, packaged[0]["bundle"]), record.endpoint
    except InfraError as error:
        raise UsageError(f"run {record.run}: its bundle is gone: {error}; submit it again") from error
