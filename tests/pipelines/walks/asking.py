"""What a walk's endpoint is asked, over HTTP."""

import json
import urllib.request
from typing import Any


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that a URL answers; with a body it is posted."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
