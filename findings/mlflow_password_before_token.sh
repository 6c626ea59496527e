#!/usr/bin/env bash
# MLflow 3.17.2's client ignores MLFLOW_TRACKING_TOKEN when a user and a password are set, against its own documentation.
#
# The docstring of MlflowHostCreds says of the token: "If provided, user/password authentication will be ignored".
# The request is made the other way round: with all three variables set, each request has `Authorization: Basic …` and
# the token is sent nowhere. So a new token has no effect in an environment that still holds an old password, and the
# server answers 401 for the old one.
#
# A server on this machine notes the header of one search for experiments, with the token alone and with all three.
# Prints both headers, and fails if they change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2

cat > "$folder/header.py" <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from mlflow import MlflowClient

seen = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        seen.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
MlflowClient(f"http://127.0.0.1:{server.server_port}").search_experiments()
print(*sorted(set(seen)))
PYTHON

export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_TRACKING_TOKEN=new-token
alone=$("$folder/venv/bin/python" "$folder/header.py" 2>/dev/null)
all=$(MLFLOW_TRACKING_USERNAME=alice MLFLOW_TRACKING_PASSWORD=old "$folder/venv/bin/python" "$folder/header.py" 2>/dev/null)
echo "token alone:               $alone"
echo "token, user and password:  $all"
[[ $alone == "Bearer new-token" && $all == "Basic "* ]] \
  || { echo "changed: expected the token alone to be sent, and not to be sent beside user and password" >&2; exit 1; }
