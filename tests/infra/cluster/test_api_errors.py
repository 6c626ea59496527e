"""What the API server's refusals become."""

import json

import pytest

from tidegate.infra.cluster.api_errors import error_of
from tidegate.infra.errors import AlreadyExistsError, ChangedError, ClusterError, UnreachableError


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (409, {"reason": "AlreadyExists", "details": {"kind": "jobs"}}, AlreadyExistsError),
        # Many pods at once: the quota's own count was being changed. Nothing was created; asking again helps.
        (409, {"reason": "Conflict", "details": {"kind": "resourcequotas"}}, UnreachableError),
        (409, {"reason": "Conflict", "details": {"kind": "leases"}}, ChangedError),
        (503, {}, UnreachableError),
    ],
)
def test_what_may_be_asked_again(code: int, status: dict[str, object], expected: type[ClusterError]) -> None:
    assert type(error_of(code, json.dumps(status).encode())) is expected
