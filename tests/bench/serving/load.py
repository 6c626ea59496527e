"""One run of wrk, as numbers."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
{headers}
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local function ms(share) return latency:percentile(share) / 1000 end
  io.write(string.format('\\nRESULT {{"rps": %f, "p10": %f, "p50": %f, "p99": %f, "p999": %f, ',
    summary.requests / summary.duration * 1e6, ms(10), ms(50), ms(99), ms(99.9)))
  io.write(string.format('"failed": %d, "requests": %d}}\\n', failed, summary.requests))
end
"""


@dataclass(frozen=True)
class Request:
    """What is asked: address, body and headers."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Result:
    """Requests a second, latencies in ms, and how many failed."""

    rps: float
    p10: float
    p50: float
    p99: float
    p999: float
    failed: int
    requests: int


def require_wrk() -> None:
    """Say how to get wrk where it is not."""
    if shutil.which("wrk") is None:
        raise SystemExit("the bench needs wrk: apt-get install wrk")


def load(request: Request, connections: int, seconds: int, folder: Path) -> Result:
    """Ask without pause over `connections` connections."""
    body, script = folder / "body", folder / "script.lua"
    body.write_bytes(request.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers)
    script.write_text(SCRIPT.format(body=body, headers=headers))
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "20s",
        "-s",
        str(script),
        request.url,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return Result(**json.loads(line.removeprefix("RESULT ")))
