"""A deletion of one very object: what the API server is asked, and what its refusal means."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tidegate.infra.cluster.api import Cluster
from tidegate.infra.errors import ChangedError


class Server(ThreadingHTTPServer):
    """Has one Job, `driver`, of uid `new`, and refuses as an API server does."""

    asked: list[dict[str, object]]

    class Handler(BaseHTTPRequestHandler):
        server: "Server"

        def do_DELETE(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            self.server.asked.append(body)
            path = self.path.partition("?")[0]
            if not path.endswith("/jobs/driver"):
                self._answer(404, {"kind": "Status", "reason": "NotFound"})
            elif (
                path.startswith("/apis/batch/v1/namespaces/busy/")
                or body.get("preconditions", {"uid": "new"})["uid"] != "new"
            ):
                self._answer(409, {"kind": "Status", "reason": "Conflict"})
            else:
                self._answer(200, {"kind": "Status", "status": "Success"})

        def _answer(self, code: int, status: dict[str, str]) -> None:
            content = json.dumps(status).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Server.Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config")
    )
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_the_object_that_was_read_is_deleted(server: Server) -> None:
    cluster = Cluster("x", "tidegate")
    assert cluster.delete("Job", "driver", uid="new")
    assert server.asked[-1]["preconditions"] == {"uid": "new"}
    assert server.asked[-1]["propagationPolicy"] == "Background"
    assert not cluster.delete("Job", "driver", uid="old")  # another one has taken its place
    assert not cluster.delete("Job", "gone", uid="old")
    assert cluster.delete("Job", "driver")
    assert server.asked[-1] == {}
    with pytest.raises(ChangedError):
        Cluster("x", "busy").delete("Job", "driver")
