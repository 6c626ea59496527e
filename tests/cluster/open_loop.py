"""k6 as a client that asks at a fixed rate whatever comes back, for a bounded time: requests are never held back."""

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.images import build

SCRIPT = Path(__file__).with_name("open_loop.js")
LONGEST = "300s"  # whatever a test does, the load ends by itself
LONGEST_WAIT_S = 40


@dataclass(frozen=True)
class Answer:
    """One answer: when it came by `time.time`, how long it took (s), which release gave it, its classes."""

    when: float
    seconds: float
    release: int
    labels: tuple[Any, ...]


@dataclass
class OpenLoop:
    """Asks `url` for `rows` so many times a second; half of the requests open a connection of their own.

    Args:
        key: of the endpoint, or a token.
        address: of the URL's host, where no resolver knows it.
        authority: a file of certificates, one of which must have issued that of an https URL.

    Attributes:
        answers: what came back with status 200; known once the load has ended.
        failures: everything else, in words.
    """

    url: str
    rows: list[Any]
    rate: float
    key: str = ""
    address: str = ""
    authority: Path | None = None
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> "OpenLoop":
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        (folder / "rows.json").write_text(json.dumps(self.rows))
        words = {"URL": self.url, "ROWS": f"{folder}/rows.json", "RATE": f"{self.rate:g}", "LONGEST": LONGEST}
        words |= (
            {"KEY": self.key, "SSL_CERT_FILE": str(self.authority)} if self.authority else {"KEY": self.key}
        )
        words["HOSTS"] = json.dumps({urlsplit(self.url).hostname: self.address} if self.address else {})
        argv = [str(build.binary(Layout.default().cache, "k6")), "run", "--quiet", "--no-summary"]
        argv += ["--no-usage-report", "--address=", "--log-format=raw", f"--log-output=file={folder}/log"]
        self._k6 = subprocess.Popen(
            [*argv, str(SCRIPT)], env=os.environ | words, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        stopped = time.time()
        self._k6.send_signal(signal.SIGINT)
        self._k6.wait(LONGEST_WAIT_S)
        for line in (Path(self._folder.name) / "log").read_text().splitlines():
            self._note(line, stopped)
        self._folder.cleanup()

    def _note(self, line: str, stopped: float) -> None:
        if not line.startswith("{"):  # k6's own words: it could not keep the rate, or failed
            self.failures.append(line) if "test run was aborted" not in line else None
            return
        told = json.loads(line)
        if "failure" not in told:
            self.answers.append(Answer(told["when"], told["seconds"], told["release"], tuple(told["labels"])))
        elif told["when"] < stopped:
            self.failures.append(told["failure"])

    def releases(self, since: float = 0.0) -> set[int]:
        """Releases that answered since a moment of `time.time`."""
        return {answer.release for answer in self.answers if answer.when >= since}
