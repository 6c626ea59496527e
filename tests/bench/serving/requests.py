"""The same images as a request to each server, in each dialect."""

import json
from typing import Any

import numpy as np

from tests.bench.serving.load import Request


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def dialects(url: str, name: str, images: np.ndarray) -> dict[str, Request]:
    """Requests to Tidegate, by dialect."""
    nested, tensor = images.tolist(), {"name": "image", "datatype": "UINT8", "shape": images.shape}
    raw = images.tobytes()
    sized = {**tensor, "parameters": {"binary_data_size": len(raw)}}
    head = _json({"inputs": [sized], "parameters": {"binary_data_output": True}})
    binary = (
        ("Content-Type", "application/octet-stream"),
        ("Inference-Header-Content-Length", str(len(head))),
    )
    data = images.ravel().tolist()
    return {
        "/predict": Request(f"{url}/predict", _json({"rows": nested})),
        "TF Serving": Request(f"{url}/v1/models/{name}:predict", _json({"instances": nested})),
        "V2 JSON": Request(f"{url}/v2/models/{name}/infer", _json({"inputs": [{**tensor, "data": data}]})),
        "V2 binary": Request(f"{url}/v2/models/{name}/infer", head + raw, binary),
    }


def rows(url: str, images: np.ndarray) -> Request:
    """A request to the bare server, and to BentoML."""
    return Request(f"{url}/predict", _json({"rows": images.tolist()}))


def invocations(url: str, images: np.ndarray) -> Request:
    """A request to `mlflow models serve`, scaled as its model wants it."""
    pixels = (images[..., None] / np.float32(255)).astype(np.float32)
    return Request(f"{url}/invocations", _json({"inputs": {"image": pixels.tolist()}}))
