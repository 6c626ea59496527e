"""The baseline: the least that serves a model over HTTP. `python -m tests.bench.serving.bare MODEL PORT`."""

import sys

import numpy as np
import onnxruntime
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

session: onnxruntime.InferenceSession


async def predict(request: Request) -> Response:
    """`{"rows": [image, ...]}` to probabilities."""
    rows = orjson.loads(await request.body())["rows"]
    pixels = np.asarray(rows, np.float32)[..., None] / 255
    answer = session.run(None, {"image": pixels})[0]
    return Response(orjson.dumps({"predictions": answer.tolist()}), media_type="application/json")


async def ready(_: Request) -> Response:
    """It answers."""
    return Response(b"{}", media_type="application/json")


def main() -> None:
    """Serve."""
    global session
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    routes = [Route("/predict", predict, methods=["POST"]), Route("/readyz", ready)]
    app = Starlette(routes=routes)
    uvicorn.run(
        app, port=int(sys.argv[2]), log_level="warning", access_log=False, loop="uvloop", http="httptools"
    )


if __name__ == "__main__":
    main()
