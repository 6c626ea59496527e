"""The server answers the golden rows as the trained model did: `python test_golden.py`, or pytest."""

import json
import threading
import time
import urllib.request

import uvicorn
from server import HERE, app

GOLDEN = json.loads((HERE / "golden.json").read_text("utf-8"))
DERIVED = ("label", "labels", "probability")  # of the probabilities, which are compared


def test_the_golden_rows():
    """Every row over HTTP; numbers may differ by the release's tolerance."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.05)
        found = ask(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
    assert len(found) == len(GOLDEN["rows"])
    for row, (answer, known) in enumerate(zip(found, GOLDEN["answers"] or found, strict=True)):
        assert distance(answer, known) <= GOLDEN["tolerance"], f"row {row}: {answer}; expected {known}"


def ask(port):
    """The answers to the golden rows."""
    body = json.dumps({"rows": GOLDEN["rows"]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body)
    with urllib.request.urlopen(request) as response:
        return json.load(response)["predictions"]


def distance(answer, known):
    """The largest difference of two answers' numbers; infinite where they differ in anything else."""
    if isinstance(known, dict) and isinstance(answer, dict) and answer.keys() == known.keys():
        keys = [key for key in known if "probabilities" not in known or key not in DERIVED]
        return max((distance(answer[key], known[key]) for key in keys), default=0.0)
    if isinstance(known, list) and isinstance(answer, list) and len(answer) == len(known):
        return max(map(distance, answer, known), default=0.0)
    if type(known) in (int, float) and type(answer) in (int, float):
        return abs(answer - known)
    return 0.0 if answer == known else float("inf")


if __name__ == "__main__":
    test_the_golden_rows()
    print(
        f"{len(GOLDEN['rows'])} golden rows are answered as {GOLDEN['of']} did, within {GOLDEN['tolerance']:g}"
    )
