"""A store that fails on purpose: a wrapper around a real one, and one below the client of an S3 server."""

import contextlib
import io
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse

from tests.faults.store.faults import DELAY_S, Faults, Met, error_of
from tidegate.infra.errors import ConflictError
from tidegate.infra.store import Ref, Store
from tidegate.infra.store.s3_store import S3Store

METHODS = (
    "put",
    "fetch",
    "has",
    "objects",
    "remove",
    "read",
    "read_many",
    "write",
    "keys",
    "delete",
    "sweep",
)
TRIES = 3  # of a request, by boto3's own default
BUSY = b"<Error><Code>SlowDown</Code></Error>"


class FaultyStore:
    """A real store, whose calls meet the faults of a history."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        there = getattr(self._store, name)
        return partial(self._call, name, there) if name in METHODS else there

    def _call(self, method: str, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        def done() -> Any:
            answer = call(*given, **named)
            return iter(list(answer)) if method == "objects" else answer

        met = self._faults.next(method, _about(*given))
        if met is None:
            return done()
        if met.fault in ("refused", "down"):
            raise error_of(met)
        if met.fault == "delayed":
            time.sleep(DELAY_S)
        answer = done()
        if met.fault == "lost":
            raise error_of(met)
        if met.fault == "doubled":
            with contextlib.suppress(ConflictError):  # the second delivery of a conditional write
                done()
        return answer


def _about(first: Any = "", *_: Any) -> str:
    if isinstance(first, Path):
        return first.name
    return f"{first.name} {first.digest[:12]}" if isinstance(first, Ref) else str(first)[:60]


class FaultyServer:
    """An S3 server that fails on purpose, as boto3 sees it: what it tries again is below this.

    `refused`: the connection breaks before the request, or the server is busy. `lost`: it breaks before the answer.

    Args:
        faults: the history.
        spared: the last try of a request always gets through; else boto3 may give up.
        meanwhile: called when an answer was lost, before the request is tried again.
    """

    def __init__(
        self, faults: Faults, *, spared: bool = True, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        self._faults = faults
        self._spared = spared
        self._meanwhile = meanwhile
        self._session = URLLib3Session()

    def stand_before(self, store: S3Store) -> None:
        """Meet every request of a store from now on."""
        store.bucket.client.meta.events.register("before-send.s3", self._send)

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        attempt = re.search(rb"attempt=(\d+)", _header(request, "amz-sdk-request"))
        if self._spared and attempt and int(attempt[1]) >= TRIES:
            return None
        met = self._faults.next(request.method, request.url.partition("?")[0].rpartition("tidegate/")[2])
        return None if met is None else self._meet(met, request)

    def _meet(self, met: Met, request: AWSPreparedRequest) -> AWSResponse | None:
        if met.fault == "refused" and met.number % 2:
            return AWSResponse(request.url, 503, {}, HTTPResponse(io.BytesIO(BUSY), preload_content=False))
        if met.fault == "refused":
            raise ConnectionClosedError(endpoint_url=request.url)
        if met.fault == "delayed":
            time.sleep(DELAY_S)
            return None
        answer = self._session.send(request)
        if met.fault == "lost":
            answer.raw.close()
            self._meanwhile()
            raise ConnectionClosedError(endpoint_url=request.url)
        request.reset_stream()
        self._session.send(request).raw.close()
        return answer


def _header(request: AWSPreparedRequest, name: str) -> bytes:
    value = request.headers.get(name, b"")
    return value if isinstance(value, bytes) else str(value).encode()
