"""The baseline: the least that serves a model over HTTP. `python -m tests.bench.serving.bare MODEL INPUT PORT`."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

session: onnxruntime.InferenceSession
about: dict[str, Any]


def images(rows: list[Any]) -> NDArray[np.float32]:
    """Pixels to what the model gets."""
    return np.asarray(rows, np.float32)[..., None] / 255


def numbers(rows: list[Any]) -> NDArray[np.float32]:
    """Numbers by name to what the model gets."""
    values = np.asarray([[row[name] for name in about["columns"]] for row in rows], np.float32)
    return (values - about["mean"]) / about["scale"]


async def predict(request: Request) -> Response:
    """`{"rows": [row, ...]}` to probabilities."""
    rows = orjson.loads(await request.body())["rows"]
    inputs = numbers(rows) if about["columns"] else images(rows)
    answer = session.run(None, {about["name"]: inputs})[0]
    return Response(orjson.dumps({"predictions": answer.tolist()}), media_type="application/json")


async def ready(_: Request) -> Response:
    """It answers."""
    return Response(b"{}", media_type="application/json")


def main() -> None:
    """Serve."""
    global session, about
    model, described, port = sys.argv[1:]
    about = json.loads(Path(described).read_text("utf-8"))
    about |= {name: np.array(about[name], np.float32) for name in ("mean", "scale")}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    routes = [Route("/predict", predict, methods=["POST"]), Route("/readyz", ready)]
    app = Starlette(routes=routes)
    uvicorn.run(app, port=int(port), log_level="warning", access_log=False, loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
