"""A release's endpoint: `python server.py`, or `uvicorn server:app`. POST /predict takes {"rows": [...]}."""

import json
import os
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from tidegate.serving.errors import ContractError
from tidegate.serving.inference.predictor import Predictor

HERE = Path(__file__).resolve().parent
RELEASE = json.loads((HERE / "release.json").read_text("utf-8"))
PREDICTOR = Predictor.of(HERE / "bundle")  # raw rows -> the transforms -> the model -> predictions


async def predict(request):
    """Predictions for the rows of a request, in their order."""
    try:
        rows = (await request.json())["rows"]
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"message": 'expected JSON such as {"rows": [...]}; see GET /contract'}, 400)
    try:
        predictions = await run_in_threadpool(PREDICTOR.predict_rows, rows)
    except ContractError as error:
        return JSONResponse({"message": str(error)}, 400)
    return JSONResponse({**RELEASE, "predictions": predictions})


async def contract(_request):
    """What a row and a prediction are."""
    return JSONResponse(json.loads((HERE / "bundle/contract.json").read_text("utf-8")))


async def ready(_request):
    """200 as soon as the model is loaded."""
    return PlainTextResponse("ready")


app = Starlette(
    routes=[
        Route("/predict", predict, methods=["POST"]),
        Route("/contract", contract),
        Route("/readyz", ready),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "3000")))
