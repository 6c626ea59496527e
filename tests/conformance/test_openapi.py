"""The OpenAPI document says what the endpoint does: schemathesis asks what it allows, and what it does not."""

import os
import sys
from pathlib import Path

import pytest

from tests.forked import SCHEMATHESIS, Forked, with_tests

from .conftest import Endpoint

# Not among them, `positive_data_acceptance`: that what fits is answered 200. That a tensor's data has as many
# elements as its shape says, or that all columns are equally long, no schema can state.
CHECKS = (
    "not_a_server_error",
    "negative_data_rejection",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "allow_header_conformance",
)


@pytest.mark.parametrize(
    ("phases", "examples"),
    [("examples,fuzzing", 3), pytest.param("examples,coverage,fuzzing", 100, marks=pytest.mark.slow)],
)
def test_schemathesis_finds_nothing(endpoint: Endpoint, phases: str, examples: int, tmp_path: Path) -> None:
    run_schemathesis(endpoint, phases, examples, tmp_path)


def run_schemathesis(endpoint: Endpoint, phases: str, examples: int, tmp_path: Path) -> None:
    assert endpoint.ask("GET", "/openapi.json")[0] == 200  # the first time BentoML is imported for it
    argv = [sys.executable, "-P", "-m", SCHEMATHESIS.module, "run", f"http://{endpoint.url}/openapi.json"]
    argv += ["--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", "1", "--no-color"]
    argv += ["--phases", phases, "--generation-database", "none"]
    ran = Forked(SCHEMATHESIS, argv, with_tests(os.environ), tmp_path)
    out, err = ran.communicate()
    assert ran.returncode == 0, out[-6000:] + err[-2000:]
