"""The access log: request ids, W3C trace context, JSON lines. It never holds what a request contained.

https://www.w3.org/TR/trace-context/: the caller's `traceparent` and `tracestate` are returned with the response, and
every log line of the request holds the trace id. No span is created here.
"""

import fcntl
import json
import logging
import os
import random
import re
import sys
import time
from itertools import count
from typing import Any, TextIO

from tidegate.serving.http.asgi import HeaderList, Headers
from tidegate.serving.http.caller import Caller

LOG = logging.getLogger("tidegate")
VALID_ID = re.compile(rb"[\x21-\x7e]{1,128}")
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
FIELDS = (
    "request_id",
    "trace_id",
    "route",
    "status",
    "kind",
    "rows",
    "seconds",
    "caller",
    "issuer",
    "endpoint",
    "release",
)


class AccessLog:
    """Gives requests their ids and logs them.

    Args:
        about: fields of every line: endpoint and release.
        sample: the share of requests that is logged, 0 to 1; errors of the server (500, 504) are always logged.
    """

    def __init__(self, about: dict[str, Any], sample: float = 0.0) -> None:
        self._about, self._sample = about, sample
        self._prefix, self._numbers = os.urandom(6).hex(), count(1)

    def headers(self, headers: Headers) -> HeaderList:
        """Response headers: the request's id (the caller's, or a new one) first, then the trace context."""
        given = headers.get(b"x-request-id")
        if given is None or VALID_ID.fullmatch(given) is None:
            given = f"{self._prefix}-{next(self._numbers)}".encode()
        pairs = [(b"x-request-id", given)]
        if b"traceparent" in headers and TRACEPARENT.fullmatch(headers[b"traceparent"]):
            names = (b"traceparent", b"tracestate")
            pairs += [(name, headers[name]) for name in names if name in headers]
        return pairs

    def record(
        self,
        pairs: HeaderList,
        route: str,
        status: int,
        seconds: float,
        rows: int = 0,
        kind: str | None = None,
        caller: Caller | None = None,
    ) -> None:
        """Log one request, if it is in the sample or the server failed."""
        failed = status in (500, 504)
        if not failed and not (self._sample and random.random() < self._sample):
            return
        extra: dict[str, Any] = {"route": route, "status": status, "seconds": round(seconds, 6)}
        extra |= {"rows": rows, "kind": kind, "request_id": pairs[0][1].decode("ascii"), **self._about}
        if caller is not None:
            extra |= {"caller": caller.name, "issuer": caller.issuer or None}
        if len(pairs) > 1:
            match = TRACEPARENT.fullmatch(pairs[1][1])
            extra["trace_id"] = match[1].decode() if match else None
        LOG.log(logging.ERROR if failed else logging.INFO, "request", extra=extra)


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, those of FIELDS that are set, and an exception's traceback."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class WholeLines(logging.StreamHandler[TextIO]):
    """Writes each line while it holds a lock on a file: lines of several processes never mix, however long.

    Args:
        stream: that several processes write to.
        lock: descriptor of the file, the same in all processes; a process that ends loses its lock.
    """

    def __init__(self, stream: TextIO, lock: int) -> None:
        super().__init__(stream)
        self._file = lock

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            super().emit(record)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def log_as_json(lock: int | None = None) -> None:
    """Send all logs of this process to stderr, one JSON object per line.

    Args:
        lock: of several processes with one stderr, see `WholeLines`.
    """
    handler = logging.StreamHandler(sys.stderr) if lock is None else WholeLines(sys.stderr, lock)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    LOG.setLevel(logging.INFO)
    # Its warnings are about clients that send something that is not HTTP.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
