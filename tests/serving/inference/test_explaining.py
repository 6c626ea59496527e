"""An endpoint explains its predictions as the trained model does, for every kind of input, and refuses what it must."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import json
import shutil
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.conformance.conftest import Endpoint
from tests.conformance.test_openapi import run_schemathesis
from tests.serving.conftest import Running
from tidegate.models.data.columns import Columns, save_columns
from tidegate.models.data.sequences import padded
from tidegate.models.explaining.integrated_gradients import Explained, integrated_gradients
from tidegate.models.explaining.keras_gradients import KerasPathGradients
from tidegate.models.export.onnx import export_onnx
from tidegate.models.export.onnx_explainer import export_path_gradients
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.schema import Field, Schema, Target
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.bundle.bundle import open_bundle, write_bundle
from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.dataplane.dispatcher import Dispatcher
from tidegate.serving.dialects import ServedModel
from tidegate.serving.errors import BundleError
from tidegate.serving.http.admission import Limits
from tidegate.serving.http.settings import ServerSettings
from tidegate.serving.inference.engine import InferenceEngine, Latency
from tidegate.serving.inference.explainer import Explainer
from tidegate.serving.inference.parity import check_parity
from tidegate.serving.inference.predictor import Predictor, sample_rows

NAME, ROWS = "everything", 24
FIELDS = (
    Field(name="size", kind="numeric", dtype="float64"),
    Field(name="city", kind="categorical", dtype="str"),
    Field(name="the picture", kind="image", dtype="uint8", shape=(4, 5, 3)),
    Field(name="note", kind="text", dtype="str"),
    Field(name="pulse", kind="sequence", dtype="float32", shape=(6,)),
    Field(name="frames", kind="sequence", dtype="float32", shape=(5, 2)),
    Field(name="grid", kind="numeric", dtype="float32", shape=(2, 3)),
)
SCHEMA = Schema(inputs=FIELDS, target=Target(names=("kind",), task="classification", classes=("a", "b", "c")))


def raw_columns() -> Columns:
    """Rows of every kind of input; some cells are missing, and sequences of any length."""
    random = np.random.default_rng(3)
    notes = np.array([None if row == 5 else "Good bad GOOD fine"[: 4 + row] for row in range(ROWS)], object)
    size = random.normal(size=ROWS)
    size[4] = np.nan
    return {
        "size": size,
        "city": np.array([("Oslo", "Rome", None)[row % 3] for row in range(ROWS)], object),
        "the picture": random.integers(0, 256, (ROWS, 4, 5, 3)).astype(np.uint8),
        "note": notes,
        "pulse": padded([random.normal(size=1 + row % 6) for row in range(ROWS)], 6),
        "frames": padded([random.normal(size=(1 + row % 5, 2)) for row in range(ROWS)], 5),
        "grid": random.normal(size=(ROWS, 2, 3)).astype(np.float32),
    }


class Packaged(NamedTuple):
    """A bundle, the rows it was proved on, and what Keras says of the first of them."""

    bundle: Path
    columns: Columns
    explained: Explained
    proof: Parity


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """A network of all inputs, exported, proved in a process of its own, and packaged."""
    folder, columns = tmp_path_factory.mktemp("explaining"), raw_columns()
    transforms = Transforms.fit(SCHEMA, columns)
    inputs, specs = transforms.apply(columns), transforms.input_specs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras' own, under NumPy 2
        model = build_model({"family": "text"}, specs, Outputs(3, "softmax"), 1)
        export_onnx(model, folder / "model.onnx")
        few = {name: array[:4] for name, array in inputs.items()}
        slopes = KerasPathGradients(model, specs)
        export_path_gradients(model, slopes, folder / "slopes.onnx")
        answers = predict(model, inputs)
        explained = integrated_gradients(slopes, few, answers[:4], True)
    np.save(folder / "reference.npy", answers)
    np.savez(folder / "attributions.npz", allow_pickle=False, **explained.attributions)
    save_columns(folder / "columns.npz", columns)
    (folder / "schema.json").write_text(SCHEMA.model_dump_json())
    (folder / "transforms.json").write_text(json.dumps(transforms.to_dict()))
    parity = prove_in(folder)
    proof = Parity.model_validate_json((folder / "explained.json").read_bytes())
    write_bundle(
        folder / "bundle",
        name=NAME,
        run="run-1",
        trial="trial-1",
        schema=SCHEMA,
        transforms=transforms,
        model=folder / "model.onnx",
        runtime="onnx",
        parity=parity,
        sample=sample_rows(columns),
        versions={},
        explained=proof,
        slopes=folder / "slopes.onnx",
    )
    return Packaged(folder / "bundle", columns, explained, proof)


def prove_in(folder: Path, attributions: str = "attributions.npz") -> Parity:
    """What the package step does."""
    named = {name: folder / f"{name}.json" for name in ("schema", "transforms", "explained")}
    return check_parity(
        model=folder / "model.onnx",
        runtime="onnx",
        columns=folder / "columns.npz",
        reference=folder / "reference.npy",
        slopes=folder / "slopes.onnx",
        attributions=folder / attributions,
        **named,
    )


@pytest.fixture(scope="module")
def server(packaged: Packaged, serve: Callable[..., Running]) -> Running:
    return serve(packaged.bundle, name=NAME)


def ask(server: Running, path: str = "/predict", **body: Any) -> tuple[int, Any]:
    status, _, content = server.ask("POST", path, json.dumps(body).encode())
    return status, json.loads(content)


def rows_of_bundle(packaged: Packaged, count: int = 4) -> list[Any]:
    return sample_rows(packaged.columns, count)


def test_the_attributions_are_proved_in_a_process_of_its_own(packaged: Packaged) -> None:
    assert packaged.proof.passed and packaged.proof.rows == 4 and packaged.proof.max_abs_difference < 1e-6
    assert open_bundle(packaged.bundle).manifest.explained == packaged.proof
    folder = packaged.bundle.parent
    wrong = {name: array * 1.1 for name, array in packaged.explained.attributions.items()}
    np.savez(folder / "wrong.npz", allow_pickle=False, **wrong)
    assert prove_in(folder, "wrong.npz").passed  # its predictions are those of the model
    other = Parity.model_validate_json((folder / "explained.json").read_bytes())
    assert not other.passed and other.max_abs_difference > 10 * other.tolerance


def test_every_kind_of_input_is_explained_as_keras_does(packaged: Packaged, server: Running) -> None:
    rows = rows_of_bundle(packaged)
    status, answer = ask(server, rows=rows, explain=True)
    assert status == 200
    assert answer["predictions"] == ask(server, rows=rows)[1]["predictions"]
    wanted = packaged.explained
    for row, (given, told) in enumerate(zip(rows, answer["explanations"], strict=True)):
        parts, close = told["attributions"], {"atol": 1e-6, "rtol": 1e-3}
        model = {name: array[row] for name, array in wanted.attributions.items()}
        assert list(parts) == ["size", "city", "the picture", "note", "pulse", "frames", "grid"]
        np.testing.assert_allclose(parts["size"], model["features"][0], **close)
        np.testing.assert_allclose(parts["city"], model["features"][1:].sum(), **close)
        np.testing.assert_allclose(parts["the picture"], model["the_picture"].sum(axis=-1), **close)
        np.testing.assert_allclose(parts["grid"], model["grid"], **close)
        np.testing.assert_allclose(parts["pulse"], model["pulse"][: len(given["pulse"]), 0], **close)
        np.testing.assert_allclose(parts["frames"], model["frames"][: len(given["frames"]), :2], **close)
        words = given["note"].lower().split()
        assert [part["token"] for part in parts["note"]] == words
        numbers = [part["attribution"] for part in parts["note"]]
        np.testing.assert_allclose(numbers, model["note"][: len(words)], **close)
        predicted = answer["predictions"][row]
        assert told["output"] == predicted["label"]
        assert told["prediction"] == pytest.approx(predicted["probability"], abs=1e-6)
        assert told["baseline"] == pytest.approx(float(wanted.baselines[row]), abs=1e-6)


def test_the_attributions_are_complete(packaged: Packaged, server: Running) -> None:
    """Sundararajan et al. 2017: their sum is the prediction minus the baseline's."""

    def leaves(value: Any) -> list[float]:
        if isinstance(value, dict):
            return leaves(value["attribution"]) if "token" in value else leaves(list(value.values()))
        return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]

    _, answer = ask(server, rows=rows_of_bundle(packaged, 16), explain=True)
    assert len(answer["explanations"]) == 16
    for told in answer["explanations"]:
        gap = sum(leaves(told["attributions"])) - (told["prediction"] - told["baseline"])
        assert gap == pytest.approx(told["completeness_gap"], abs=1e-5)
        assert abs(gap) < 1e-3


def test_what_is_missing_explains_nothing(packaged: Packaged, server: Running) -> None:
    row = rows_of_bundle(packaged, 1)[0] | {"size": None, "city": None, "note": None}
    _, answer = ask(server, rows=[row], explain=True)
    parts = answer["explanations"][0]["attributions"]
    assert (parts["size"], parts["city"], parts["note"]) == (0, 0, [])


@pytest.mark.parametrize("value", ["yes", 1, None, [], {}], ids=str)
def test_what_is_no_boolean_is_rejected(packaged: Packaged, server: Running, value: Any) -> None:
    status, answer = ask(server, rows=rows_of_bundle(packaged, 1), explain=value)
    assert status == 400
    assert (answer["error"]["field"], answer["error"]["expected"]) == ("explain", "true or false")


def test_false_is_as_if_it_were_not_there(packaged: Packaged, server: Running) -> None:
    rows = rows_of_bundle(packaged, 2)
    assert ask(server, rows=rows, explain=False) == ask(server, rows=rows)


def test_more_rows_than_can_be_explained_are_rejected(packaged: Packaged, server: Running) -> None:
    rows = rows_of_bundle(packaged, 17)
    assert ask(server, rows=rows)[0] == 200
    status, answer = ask(server, rows=rows, explain=True)
    assert status == 400 and answer["error"]["expected"] == "at most 16 in one request to explain"


def test_a_wrong_row_is_named_as_without_it(packaged: Packaged, server: Running) -> None:
    rows = rows_of_bundle(packaged, 2)
    rows[1]["size"] = "large"
    status, answer = ask(server, rows=rows, explain=True)
    assert status == 400 and (answer["error"]["field"], answer["error"]["row"]) == ("size", 1)


def test_a_key_in_other_letters_is_the_same_key(packaged: Packaged, server: Running) -> None:
    body = json.dumps({"rows": rows_of_bundle(packaged, 1), "explain": True}).replace(
        "explain", "expl\\u0061in"
    )
    status, _, content = server.ask("POST", "/predict", body.encode())
    assert status == 200 and len(json.loads(content)["explanations"]) == 1


def test_pipelined_requests_are_answered_in_order(packaged: Packaged, server: Running) -> None:
    """The short way of plain ones must not overtake what is explained before them on the same connection."""
    row = rows_of_bundle(packaged, 1)
    asked = [{"rows": row, "explain": True}, {"rows": row}, {"rows": row, "explain": True}, {"rows": row}]
    sent = b""
    for content in asked:
        body = json.dumps(content).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        sent += head.encode() + body
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        reader = connection.makefile("rb")
        for pieces in ([sent], [sent[:100], sent[100:]]):
            for piece in pieces:
                connection.sendall(piece)
            for content in asked:
                assert reader.readline().startswith(b"HTTP/1.1 200")
                length = int(http.client.parse_headers(reader)["content-length"])
                assert ("explanations" in json.loads(reader.read(length))) == ("explain" in content)


def test_the_standard_dialects_say_where_to_ask(server: Running) -> None:
    for path, body in (
        (f"/v1/models/{NAME}:predict", {"instances": [], "explain": True}),
        (f"/v2/models/{NAME}/infer", {"inputs": [], "parameters": {"explain": True}}),
    ):
        status, _, content = server.ask("POST", path, json.dumps(body).encode())
        assert status == 400
        if "v1" in path:
            assert 'send POST /predict {"rows": [...], "explain": true}' in json.loads(content)["error"]


def test_contract_and_openapi_page_say_so(server: Running) -> None:
    contract = json.loads(server.ask("GET", "/contract")[2])
    assert contract["explain"] == {"rows": 16, "steps": 128}
    page = json.loads(server.ask("GET", "/openapi.json")[2])["paths"]["/predict"]["post"]
    asked = page["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert asked["explain"]["type"] == "boolean" and "16 rows" in asked["explain"]["description"]
    answered = page["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    parts = answered["explanations"]["items"]["properties"]["attributions"]["properties"]
    assert parts["the picture"]["items"] == {"type": "array", "items": {"type": "number"}}
    assert set(parts["note"]["items"]["properties"]) == {"token", "attribution"}


def test_schemathesis_finds_nothing(packaged: Packaged, server: Running, tmp_path: Path) -> None:
    """The OpenAPI document says what the endpoint does, with explanations too."""
    contract, rows = open_bundle(packaged.bundle).contract, rows_of_bundle(packaged, 1)
    endpoint = Endpoint(NAME, "onnx", server.port, 0, contract, rows, np.zeros((1, 3), np.float32))
    run_schemathesis(endpoint, "examples,fuzzing", 3, tmp_path)


def test_a_release_that_does_not_explain_says_how_to_get_it(
    images: Path, serve: Callable[..., Running]
) -> None:
    plain = serve(images)
    rows = [[[0] * 8] * 8]
    status, answer = ask(plain, rows=rows, explain=True)
    assert status == 400 and answer["error"]["field"] == "explain"
    assert "set serving.explain: true in the experiment and submit it again" in answer["message"]
    assert "explain" not in json.loads(plain.ask("GET", "/contract")[2])
    assert ask(plain, rows=rows)[0] == 200


def test_plain_requests_are_answered_while_others_are_explained(packaged: Packaged, server: Running) -> None:
    """Some are turned away, which is told with 503; nobody else notices."""
    rows = rows_of_bundle(packaged, 16)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, server, rows=rows, explain=True) for _ in range(12)]
        plain = [ask(server, rows=rows[:1])[0] for _ in range(100)]
        statuses = [one.result()[0] for one in asked]
    assert set(plain) == {200}
    assert set(statuses) <= {200, 503} and statuses.count(200) >= 4


@pytest.fixture
def engine(packaged: Packaged) -> InferenceEngine:
    bundle = open_bundle(packaged.bundle)
    predictor = Predictor.of(bundle)
    served = ServedModel(NAME, 1, bundle.contract)
    return InferenceEngine(
        predictor, served, Latency(1e-4, 1e-4), bundle.sample, explainer=Explainer.of(bundle)
    )


def test_a_body_that_may_ask_for_it_is_not_answered_by_the_loop(engine: InferenceEngine) -> None:
    rows = engine.dialects["predict"]
    assert engine.may_explain(rows, b'{"rows": [], "explain": true}')
    assert engine.may_explain(rows, b'{"expl\\u0061in": true, "rows": [1]}')
    assert not engine.may_explain(rows, b'{"rows": [1, 2]}')
    assert not engine.may_explain(rows, b'{"rows": [{"size": 1}]}')
    assert not engine.may_explain(engine.dialects["v2"], b'{"explain": true}')


async def _rejected(dispatcher: Dispatcher, body: bytes) -> list[Any]:
    dialect = dispatcher.engine.dialects["predict"]
    asked = [dispatcher.answer(dialect, body, {}) for _ in range(4)]
    return await asyncio.gather(*asked, return_exceptions=True)


def test_what_is_explained_takes_no_place_of_others_and_only_so_many_wait(
    engine: InferenceEngine, packaged: Packaged
) -> None:
    dispatcher = Dispatcher(engine, ServerSettings(Limits(max_explanations=2)), lambda: True)
    body = json.dumps({"rows": rows_of_bundle(packaged, 2), "explain": True}).encode()
    found = asyncio.run(_rejected(dispatcher, body))
    refused = [one for one in found if isinstance(one, Exception)]
    answered = [one for one in found if not isinstance(one, Exception)]
    assert len(refused) == 2 and all("2 requests wait for explanations" in str(one) for one in refused)
    assert [one.status for one in answered] == [200, 200] and all(one.busy == 0 for one in answered)
    assert dispatcher.admission.explaining == 0
    dispatcher.stop()


def test_what_takes_longer_than_the_deadline_is_given_up(engine: InferenceEngine, packaged: Packaged) -> None:
    engine.deadline = 0.0
    answer = engine.answer_content({"rows": rows_of_bundle(packaged, 2), "explain": True})
    assert answer.status == 500 and b"ask to explain fewer rows at a time" in answer.body


def test_a_slopes_file_that_was_changed_is_not_served(packaged: Packaged, tmp_path: Path) -> None:
    shutil.copytree(packaged.bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "slopes.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"'slopes.onnx' .* has changed"):
        open_bundle(tmp_path / "bundle")
