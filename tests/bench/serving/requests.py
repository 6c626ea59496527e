"""The same rows as a request to each server, in each dialect."""

import json
from typing import Any

import numpy as np

from tests.bench.serving.load import Request
from tests.bench.serving.models import rows_in
from tidegate.models.data.columns import Columns


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def dialects(url: str, name: str, columns: Columns) -> dict[str, Request]:
    """Requests to Tidegate, by dialect."""
    rows = rows_in(columns)
    tensors = [
        {"name": name, "datatype": column.dtype.name.upper(), "shape": column.shape}
        for name, column in columns.items()
    ]
    listed = [
        {**tensor, "data": column.ravel().tolist()}
        for tensor, column in zip(tensors, columns.values(), strict=True)
    ]
    sized = [
        {**tensor, "parameters": {"binary_data_size": column.nbytes}}
        for tensor, column in zip(tensors, columns.values(), strict=True)
    ]
    raw = b"".join(column.tobytes() for column in columns.values())
    head = _json({"inputs": sized, "parameters": {"binary_data_output": True}})
    binary = (
        ("Content-Type", "application/octet-stream"),
        ("Inference-Header-Content-Length", str(len(head))),
    )
    return {
        "/predict": Request(f"{url}/predict", _json({"rows": rows})),
        "TF Serving": Request(f"{url}/v1/models/{name}:predict", _json({"instances": rows})),
        "V2 JSON": Request(f"{url}/v2/models/{name}/infer", _json({"inputs": listed})),
        "V2 binary": Request(f"{url}/v2/models/{name}/infer", head + raw, binary),
    }


def rows(url: str, columns: Columns) -> Request:
    """A request to the bare servers, and to BentoML."""
    return Request(f"{url}/predict", _json({"rows": rows_in(columns)}))


def invocations(url: str, columns: Columns) -> Request:
    """A request to `mlflow models serve` with images, scaled as its model wants them."""
    pixels = (columns["image"][..., None] / np.float32(255)).astype(np.float32)
    return Request(f"{url}/invocations", _json({"inputs": {"image": pixels.tolist()}}))
