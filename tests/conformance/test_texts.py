"""Endpoints that write texts: in every dialect what the bundle writes offline and what a slow decoder finds."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from tidegate.models.data.columns import load_columns
from tidegate.models.decoding.settings import Decoding
from tidegate.models.preprocessing.target.text_target import BOUNDARY, UNSEEN
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.bundle.drift_reference import DriftReference
from tidegate.serving.inference.bulk_scoring import chunk_rows
from tidegate.serving.inference.predictor import Predictor, sample_rows
from tidegate.serving.inference.release_loader import BUNDLE, NAME, RELEASE, load_engine

from .bundles import RUNTIMES
from .conftest import Endpoint, built, serving, triton_http
from .test_openapi import run_schemathesis
from .texts import CASES

PARAMETERS = [
    pytest.param((family, runtime), id=f"{family}-{runtime}", marks=pytest.mark.slow if slow else ())
    for runtime in RUNTIMES
    for family in CASES
    for slow in [runtime == "tensorflow"]
]
CLOSE = 1e-4  # of a log-probability, over up to 12 tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle of each case."""
    return built("texts", tmp_path_factory)


@pytest.fixture(scope="module")
def offline(folder: Path) -> dict[str, Predictor]:
    return {family: Predictor.of(folder / f"{family}-onnx") for family in CASES}


@pytest.fixture(scope="module", params=PARAMETERS)
def endpoint(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """Each of them in turn, as release 2."""
    family, runtime = request.param
    columns = load_columns(folder / f"{family}.npz")
    name = next(iter(columns))
    rows = sample_rows({name: columns[name]}, len(columns[name]))
    bundle, control = folder / f"{family}-{runtime}", tmp_path_factory.mktemp("server")
    with serving(bundle, family, runtime, rows, np.zeros((0, 2)), control) as running:
        yield running


def slow_texts(predictor: Predictor, rows: list[Any], decoding: Decoding) -> list[tuple[str, float]]:
    """One row, one text and one token at a time: all that is kept of a beam is a list of texts."""
    answers, found = predictor.transforms.text_target, []
    assert answers is not None and decoding.max_length is not None
    for row in rows:
        columns = predictor.reader.parse_rows([row])
        inputs = predictor.transforms.apply(columns)
        lead = answers.prompt_ids(row) if predictor.contract.prompt else []

        def logs(tokens: tuple[int, ...], inputs: Any = inputs, lead: list[int] = lead) -> np.ndarray:
            prefix = np.array([[BOUNDARY, *lead, *tokens]], np.int32)
            chances = np.log(predictor.run({**inputs, "prefix": prefix})[0, -1].astype(np.float64))
            chances[UNSEEN] = -np.inf
            return chances

        width = decoding.width if decoding.method == "beam" else 1
        beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        ended: list[tuple[float, tuple[int, ...]]] = []
        for _ in range(decoding.max_length):
            grown = []
            for score, tokens in beam:
                following = logs(tokens)
                ended.append((score + following[BOUNDARY], tokens))
                if decoding.method == "greedy" and following.argmax() == BOUNDARY:
                    continue
                grown += [(score + following[token], (*tokens, token)) for token in range(2, len(following))]
            beam = sorted(grown, key=lambda text: -text[0])[:width]
        if decoding.method == "beam":
            ended += [(score + logs(tokens)[BOUNDARY], tokens) for score, tokens in beam]
            score, tokens = max(ended)
        else:
            score, tokens = beam[0] if beam else ended[-1]
        found.append((answers.text(tokens), score))
    return found


def ask(endpoint: Endpoint, rows: list[Any], **more: Any) -> list[dict[str, Any]]:
    status, answer = endpoint.ask("POST", "/predict", {"rows": rows, **more})
    assert status == 200, answer
    assert (answer["model"], answer["release"]) == (endpoint.name, 2)
    return list(answer["predictions"])


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_a_text_is_the_bundle_s_and_a_slow_decoder_s(
    endpoint: Endpoint, offline: dict[str, Predictor], method: str
) -> None:
    given = {"method": method}
    answers = ask(endpoint, endpoint.rows, decoding=given)
    predictor = offline[endpoint.name]
    decoding = predictor.reader.parse_settings({"decoding": given})
    assert decoding is not None
    columns = predictor.reader.parse_rows(endpoint.rows)
    known = predictor.contract.predictions(predictor.predict_columns(columns, decoding))
    slow = slow_texts(predictor, endpoint.rows, decoding)
    for answer, other, (text, score) in zip(answers, known, slow, strict=True):
        assert isinstance(other, dict)
        assert answer["text"] == other["text"] == text
        assert answer["log_probability"] == pytest.approx(other["log_probability"], abs=CLOSE)
        assert answer["log_probability"] == pytest.approx(score, abs=CLOSE)
    assert len({answer["text"] for answer in answers}) > 2


def test_every_dialect_answers_the_same_texts(endpoint: Endpoint) -> None:
    rows, decoding = endpoint.rows[:20], endpoint.contract.decoding
    if decoding is not None and decoding.method == "sample":
        pytest.skip("other texts each time")
    known = [answer["text"] for answer in ask(endpoint, rows)]
    (name,) = [entry.name for entry in endpoint.contract.inputs]
    path = f"/v1/models/{endpoint.name}:predict"
    assert endpoint.ask("POST", path, {"instances": rows}) == (200, {"predictions": known})
    assert endpoint.ask("POST", path, {"inputs": {name: rows}}) == (200, {"outputs": known})
    column = np.array(rows, object)
    for module, url in ((triton_http(), endpoint.url), (triton_grpc, f"127.0.0.1:{endpoint.grpc_port}")):
        client = module.InferenceServerClient(url)
        tensor = module.InferInput(name, [len(rows)], "BYTES")
        tensor.set_data_from_numpy(column)
        answer = client.infer(endpoint.name, [tensor])
        assert [text.decode() for text in answer.as_numpy("text")] == known
        assert answer.as_numpy("log_probability").dtype == np.float32
        client.close()
    tensor = {"name": name, "shape": [20], "datatype": "BYTES", "data": rows}
    status, answer = endpoint.ask("POST", f"/v2/models/{endpoint.name}/infer", {"inputs": [tensor]})
    assert status == 200 and answer["outputs"][0]["data"] == known


def test_a_seed_repeats_a_text_and_temperature_0_is_greedy(endpoint: Endpoint) -> None:
    rows = endpoint.rows[:8]
    draw = {"method": "sample", "temperature": 2.0, "seed": 3}
    first = ask(endpoint, rows, decoding=draw)
    assert ask(endpoint, rows, decoding=draw) == first
    assert ask(endpoint, rows[3:4], decoding=draw)[0]["text"] == first[3]["text"]
    assert ask(endpoint, rows, decoding={**draw, "seed": 4}) != first
    cold = ask(endpoint, rows, decoding={"method": "sample", "temperature": 0})
    greedy = ask(endpoint, rows, decoding={"method": "greedy"})
    assert [answer["text"] for answer in cold] == [answer["text"] for answer in greedy]
    (answers,) = [ask(endpoint, rows, decoding={"max_length": 1})]
    longest = 6 if endpoint.name == "gpt" else 1  # of a subword, several characters
    assert all(len(answer["text"]) <= longest for answer in answers)


@pytest.mark.parametrize(
    "text", ["", None, "Ω" * 50, "ab" * 500_000, "\x00\ud83d".encode("utf-8", "replace").decode()]
)
def test_any_text_is_answered(endpoint: Endpoint, text: str | None) -> None:
    (answer,) = ask(endpoint, [text], decoding={"method": "greedy"})
    assert isinstance(answer["text"], str) and answer["log_probability"] <= 0


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"decoding": {"width": 1000}}, "decoding.width", "the release's own"),
        ({"decoding": {"max_length": "9"}}, "decoding.max_length", "the text"),
        ({"decoding": {"max_length": 0}}, "decoding.max_length", "greater than or equal to 1"),
        ({"decoding": {"temperature": -1}}, "decoding.temperature", "greater than or equal to 0"),
        ({"decoding": {"temperature": True}}, "decoding.temperature", "a valid number"),
        ({"decoding": {"top_k": 1.5}}, "decoding.top_k", "a valid integer"),
        ({"decoding": {"method": "magic"}}, "decoding.method", "'greedy', 'beam' or 'sample'"),
        ({"decoding": {"heat": 1}}, "decoding.heat", "one of method, max_length"),
        ({"decoding": 3}, "decoding", "an object"),
        ({"dekoding": {}}, "dekoding", 'expected only "rows" and "decoding"'),
        ({"rows": [5]}, None, "text, or null"),
        ({"rows": ["a"] * 2000}, "rows", "at most"),
    ],
)
def test_what_can_not_be_answered_is_told(
    endpoint: Endpoint, body: Any, field: str | None, said: str
) -> None:
    status, answer = endpoint.ask("POST", "/predict", {"rows": endpoint.rows[:1], **body})
    assert status == 400, answer
    assert field is None or answer["error"]["field"] == field
    assert said in answer["message"]


def test_what_is_said_of_it(endpoint: Endpoint) -> None:
    status, contract = endpoint.ask("GET", "/contract")
    assert status == 200 and contract["task"] == "generation"
    assert contract["decoding"]["method"] == ("beam" if endpoint.name == "seq2seq" else "sample")
    assert chunk_rows(contract) == contract["most_rows"] == 8192 // contract["decoding"]["max_length"]
    _, model = endpoint.ask("GET", f"/v2/models/{endpoint.name}")
    assert model["outputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [-1]},
        {"name": "log_probability", "datatype": "FP32", "shape": [-1]},
    ]
    _, about = endpoint.ask("GET", f"/v1/models/{endpoint.name}/metadata")
    signature = about["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["outputs"]["text"]["dtype"] == "DT_STRING"


def test_its_page_allows_what_it_takes(endpoint: Endpoint, tmp_path: Path) -> None:
    run_schemathesis(endpoint, "examples,fuzzing", 3, tmp_path)


@pytest.mark.parametrize("family", CASES)
def test_drift_and_metrics_count_texts(folder: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = folder / f"{family}-onnx"
    for key, value in ((BUNDLE, str(bundle)), (NAME, family), (RELEASE, "2")):
        monkeypatch.setenv(key, value)
    load_engine.cache_clear()
    engine = load_engine()
    load_engine.cache_clear()
    answer = engine.answer_content({"rows": engine.sample})
    assert answer.status == 200 and answer.values is not None and answer.columns is not None
    assert engine.observer is not None
    for _ in range(80):
        engine.observer([(answer.columns, answer.values)])
    engine.metrics.predicted(answer.values, 0.1, 0.2)
    page = engine.metrics.page().decode()
    assert f'tidegate_drift_psi{{endpoint="{family}",kind="prediction"' in page
    assert f'tidegate_prediction_value_bucket{{endpoint="{family}",le="+Inf",release="2"}} 3.0' in page
    reference = open_bundle(bundle).reference
    assert isinstance(reference, DriftReference)
    assert [feature.measure for feature in (*reference.features, *reference.predictions)] == [
        "length",
        "length",
    ]
    assert all(one < other for one, other in pairwise(reference.predictions[0].edges))


def test_a_request_that_takes_too_long_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUNDLE, str(folder / "seq2seq-onnx"))
    load_engine.cache_clear()
    engine = load_engine()
    load_engine.cache_clear()
    engine.deadline = 0.0
    answer = engine.answer_content({"rows": engine.sample})
    assert answer.status == 500 and answer.kind == "prediction"
    assert "ask for fewer or shorter texts" in json.loads(answer.body)["message"]
