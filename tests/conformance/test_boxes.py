"""Endpoints that find boxes: in every dialect what the bundle finds offline, in pixels of the image sent."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from PIL import Image

from tidegate.models.data.columns import Columns, load_columns
from tidegate.models.decoding.detections import detect
from tidegate.models.decoding.settings import Detection
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.contract.encoded_images import ORIGINAL_SIZES
from tidegate.serving.inference.release_loader import BUNDLE, NAME, RELEASE, load_engine

from .boxes import DETECTION, HEIGHT, LABELS, WIDTH
from .bundles import RUNTIMES
from .conftest import Endpoint, built, serving, triton_http
from .test_openapi import run_schemathesis

PARAMETERS = [
    pytest.param(runtime, marks=pytest.mark.slow if runtime == "tensorflow" else ()) for runtime in RUNTIMES
]
CLOSE = 1e-3  # pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle a runtime."""
    return built("boxes", tmp_path_factory)


@pytest.fixture(scope="module")
def columns(folder: Path) -> Columns:
    return load_columns(folder / "boxes.npz")


@pytest.fixture(scope="module", params=PARAMETERS)
def endpoint(
    request: pytest.FixtureRequest, folder: Path, columns: Columns, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """Each of them in turn, as release 2."""
    rows = columns["image"].tolist()
    control = tmp_path_factory.mktemp("server")
    bundle = folder / f"boxes-{request.param}"
    with serving(bundle, "boxes", request.param, rows, np.zeros((0, 2)), control) as running:
        yield running


def expected(folder: Path, settings: Detection, scale: tuple[int, int] = (1, 1)) -> list[list[Any]]:
    """The boxes that come of what the network itself answered, decoded here."""
    boxes, raw = open_bundle(folder / "boxes-onnx").transforms.box_target, np.load(folder / "raw.npy")
    assert boxes is not None
    sizes = np.tile([HEIGHT * scale[0], WIDTH * scale[1]], (len(raw), 1))
    found = detect(raw, boxes, settings, sizes)
    return [[(LABELS[int(box[0])], box[1], box[2:]) for box in row if box[0] >= 0] for row in found]


def ask(endpoint: Endpoint, rows: list[Any], **more: Any) -> list[dict[str, Any]]:
    status, answer = endpoint.ask("POST", "/predict", {"rows": rows, **more})
    assert status == 200, answer
    assert (answer["model"], answer["release"]) == (endpoint.name, 2)
    return list(answer["predictions"])


def same(predictions: list[dict[str, Any]], known: list[list[Any]]) -> None:
    for prediction, boxes in zip(predictions, known, strict=True):
        assert list(prediction) == ["boxes"] and len(prediction["boxes"]) == len(boxes)
        for one, (label, score, box) in zip(prediction["boxes"], boxes, strict=True):
            assert list(one) == ["label", "score", "box"] and one["label"] == label
            assert one["score"] == pytest.approx(score, abs=1e-5)
            np.testing.assert_allclose(one["box"], box, atol=CLOSE)


def file_of(pixels: np.ndarray, scale: tuple[int, int] = (1, 1)) -> dict[str, str]:
    """A PNG, each pixel repeated; brought to size again it is the same image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(scale[0], axis=0).repeat(scale[1], axis=1)).save(buffer, "PNG")
    return {"b64": base64.b64encode(buffer.getvalue()).decode()}


@pytest.mark.parametrize(
    "given",
    [None, {}, {"score": 0.35}, {"score": 0}, {"iou": 1}, {"max_boxes": 2}, {"score": 1, "max_boxes": 3.0}],
)
def test_boxes_are_those_of_the_network(
    endpoint: Endpoint, folder: Path, given: dict[str, Any] | None
) -> None:
    more = {} if given is None else {"detection": given}
    settings = Detection.model_validate({**DETECTION.model_dump(), **(given or {})})
    known = expected(folder, settings)
    same(ask(endpoint, endpoint.rows, **more), known)
    if settings.score < 1 and settings.max_boxes > 2:
        assert sum(map(len, known)) > 20 and {label for row in known for label, *_ in row} == set(LABELS)


def test_boxes_are_in_pixels_of_the_image_sent(endpoint: Endpoint, folder: Path, columns: Columns) -> None:
    few = columns["image"][:6]
    same(ask(endpoint, [file_of(image) for image in few]), expected(folder, DETECTION)[:6])
    (name,) = [entry.name for entry in endpoint.contract.inputs]
    mixed = [file_of(few[0]), few[1].tolist(), {name: file_of(few[2])}, {name: few[3].tolist()}]
    same(ask(endpoint, mixed), expected(folder, DETECTION)[:4])
    flat = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)  # which no resizing changes
    all_of = {"score": 0}
    (one,) = ask(endpoint, [file_of(flat)], detection=all_of)
    (three,) = ask(endpoint, [file_of(flat, (3, 2))], detection=all_of)
    assert len(one["boxes"]) == len(three["boxes"]) > 0
    for small, large in zip(one["boxes"], three["boxes"], strict=True):
        np.testing.assert_allclose(np.multiply(small["box"], [2, 3, 2, 3]), large["box"], atol=CLOSE)


def padded(known: list[list[Any]]) -> dict[str, np.ndarray]:
    """Tensors of one size."""
    rows, most = len(known), DETECTION.max_boxes
    boxes, scores = np.zeros((rows, most, 4)), np.zeros((rows, most))
    labels = np.full((rows, most), "", object)
    for row, found in enumerate(known):
        for place, (label, score, box) in enumerate(found):
            boxes[row, place], scores[row, place], labels[row, place] = box, score, label
    return {"boxes": boxes, "scores": scores, "labels": labels, "count": np.array(list(map(len, known)))}


def test_tensorflow_serving_answers_named_outputs(endpoint: Endpoint, folder: Path, columns: Columns) -> None:
    known = padded(expected(folder, DETECTION)[:4])
    path = f"/v1/models/{endpoint.name}:predict"
    for rows in (endpoint.rows[:4], [file_of(image) for image in columns["image"][:4]]):
        status, answer = endpoint.ask("POST", path, {"instances": rows})
        assert status == 200
        for row, found in enumerate(answer["predictions"]):
            assert found["count"] == known["count"][row] and found["labels"] == known["labels"][row].tolist()
            np.testing.assert_allclose(found["boxes"], known["boxes"][row], atol=CLOSE)
        status, answer = endpoint.ask("POST", path, {"inputs": {"image": rows}})
        assert status == 200 and set(answer["outputs"]) == set(known)
        np.testing.assert_allclose(answer["outputs"]["scores"], known["scores"], atol=1e-5)
        assert answer["outputs"]["count"] == known["count"].tolist()


def test_the_open_inference_protocol_answers_tensors_of_one_size(
    endpoint: Endpoint, folder: Path, columns: Columns
) -> None:
    images, known = columns["image"][:4], padded(expected(folder, DETECTION)[:4])
    raw = [base64.b64decode(file_of(image)["b64"]) for image in images]
    files = np.array(raw, object)
    for module, url in ((triton_http(), endpoint.url), (triton_grpc, f"127.0.0.1:{endpoint.grpc_port}")):
        client = module.InferenceServerClient(url)
        for values, datatype in ((images, "UINT8"), (files, "BYTES")):
            tensor = module.InferInput("image", list(values.shape), datatype)
            tensor.set_data_from_numpy(values)
            answer = client.infer(endpoint.name, [tensor])
            np.testing.assert_allclose(answer.as_numpy("boxes"), known["boxes"], atol=CLOSE)
            np.testing.assert_allclose(answer.as_numpy("scores"), known["scores"], atol=1e-5)
            labels = np.vectorize(lambda text: text.decode(), otypes=[object])(answer.as_numpy("labels"))
            assert (labels == known["labels"]).all()
            assert answer.as_numpy("count").tolist() == known["count"].tolist()
        client.close()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [file_of(images[0])["b64"]]}
    status, answer = endpoint.ask("POST", f"/v2/models/{endpoint.name}/infer", {"inputs": [tensor]})
    assert status == 200
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["labels"]["shape"] == [1, 12] and outputs["labels"]["data"] == known["labels"][0].tolist()


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"detection": {"score": 2}}, "detection.score", "less than or equal to 1"),
        ({"detection": {"score": "high"}}, "detection.score", "the text"),
        ({"detection": {"iou": True}}, "detection.iou", "a valid number"),
        ({"detection": {"max_boxes": 13}}, "detection.max_boxes", "from 1 to 12, the release's own"),
        ({"detection": {"max_boxes": 0}}, "detection.max_boxes", "greater than or equal to 1"),
        ({"detection": {"scores": 1}}, "detection.scores", "one of score, iou, vote, max_boxes"),
        ({"detection": 3}, "detection", 'an object such as {"score": 0.3}'),
        ({"decoding": {}}, "decoding", 'expected only "rows" and "detection"'),
        ({"rows": [{"b64": "no base64!"}]}, "image", "bad b64"),
        ({"rows": [{"b64": 3}]}, "image", "bad b64"),
        (
            {"rows": [{"b64": base64.b64encode(b"no image").decode()}]},
            "image",
            "8 bytes that are not an image",
        ),
        ({"rows": [{"b64": "", "more": 1}]}, "image", "no such field in the row"),
        ({"rows": [[[1, 2], [3, 4]]]}, "image", "an array of shape [12, 18, 3]"),
    ],
)
def test_what_can_not_be_answered_is_told(endpoint: Endpoint, body: Any, field: str, said: str) -> None:
    status, answer = endpoint.ask("POST", "/predict", {"rows": endpoint.rows[:1], **body})
    assert status == 400, answer
    assert answer["error"]["field"] == field and said in answer["message"]


def test_a_corrupt_file_is_named_by_its_row(endpoint: Endpoint, columns: Columns) -> None:
    whole = base64.b64decode(file_of(columns["image"][0])["b64"])
    cut = {"b64": base64.b64encode(whole[: len(whole) // 2]).decode()}
    status, answer = endpoint.ask("POST", "/predict", {"rows": [endpoint.rows[0], cut]})
    assert status == 400 and answer["error"]["row"] == 1 and "that are not an image" in answer["message"]


def test_what_is_said_of_it(endpoint: Endpoint) -> None:
    status, contract = endpoint.ask("GET", "/contract")
    assert status == 200 and contract["task"] == "detection" and contract["classes"] == list(LABELS)
    assert contract["detection"] == DETECTION.model_dump(exclude_none=True)
    _, model = endpoint.ask("GET", f"/v2/models/{endpoint.name}")
    assert [(output["name"], output["datatype"], output["shape"]) for output in model["outputs"]] == [
        ("boxes", "FP32", [-1, 12, 4]),
        ("scores", "FP32", [-1, 12]),
        ("labels", "BYTES", [-1, 12]),
        ("count", "INT64", [-1]),
    ]
    _, about = endpoint.ask("GET", f"/v1/models/{endpoint.name}/metadata")
    outputs = about["metadata"]["signature_def"]["signature_def"]["serving_default"]["outputs"]
    assert {name: output["dtype"] for name, output in outputs.items()} == {
        "boxes": "DT_FLOAT",
        "scores": "DT_FLOAT",
        "labels": "DT_STRING",
        "count": "DT_INT64",
    }


def test_its_page_allows_what_it_takes(endpoint: Endpoint, tmp_path: Path) -> None:
    run_schemathesis(endpoint, "examples,fuzzing", 3, tmp_path)


def test_drift_and_metrics_count_boxes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in ((BUNDLE, str(folder / "boxes-onnx")), (NAME, "boxes"), (RELEASE, "2")):
        monkeypatch.setenv(key, value)
    load_engine.cache_clear()
    engine = load_engine()
    load_engine.cache_clear()
    answer = engine.answer_content({"rows": engine.sample})
    few = engine.answer_content({"rows": engine.sample, "detection": {"max_boxes": 1}})
    assert answer.status == few.status == 200 and answer.values is not None and answer.columns is not None
    assert few.values is not None and few.values.shape == answer.values.shape == (3, 12, 6)
    assert engine.observer is not None
    for _ in range(80):
        engine.observer([(answer.columns, answer.values), (answer.columns, few.values)])
    engine.metrics.predicted(answer.values, 0.1, 0.2)
    engine.metrics.predicted(few.values, 0.1, 0.2)
    page = engine.metrics.page().decode()
    assert 'tidegate_drift_psi{endpoint="boxes",kind="prediction",name="boxes",release="2"}' in page
    places = np.concatenate([answer.values, few.values])[:, :, 0]
    for place, label in enumerate(LABELS):
        line = f'tidegate_predictions_total{{endpoint="boxes",label="{label}",release="2"}}'
        assert f"{line} {float((places == place).sum())}" in page


def test_requests_of_every_dialect_can_be_predicted_together(
    folder: Path, columns: Columns, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in ((BUNDLE, str(folder / "boxes-onnx")), (NAME, "boxes"), (RELEASE, "2")):
        monkeypatch.setenv(key, value)
    load_engine.cache_clear()
    engine = load_engine()
    load_engine.cache_clear()
    image = columns["image"][0]
    wide = file_of(image, (1, 3))
    whole = {"name": "image", "shape": [1, *image.shape], "datatype": "UINT8", "data": image.tolist()}
    file = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [wide["b64"]]}
    asked = {
        "predict": [{"rows": [image.tolist()]}, {"rows": [wide]}],
        "tfserving": [{"instances": [image.tolist()]}, {"inputs": [wide]}],
        "v2": [{"inputs": [whole]}, {"inputs": [file]}],
    }
    readings = [
        engine.dialects[name].read(json.dumps(body).encode(), {}) for name in asked for body in asked[name]
    ]
    names = set(readings[0].columns)
    assert all(set(reading.columns) == names for reading in readings)
    together = {name: np.concatenate([reading.columns[name] for reading in readings]) for name in names}
    found = engine.predictor.predict_columns(together)
    for row, reading in enumerate(readings):
        alone = engine.predictor.predict_columns(reading.columns)
        np.testing.assert_allclose(found[row], alone[0], atol=CLOSE)
    assert [size.tolist() for size in together[ORIGINAL_SIZES]] == [[HEIGHT, WIDTH], [HEIGHT, 3 * WIDTH]] * 3
